"""The gateway's access log to the daemon, which adds up who used what."""

from __future__ import annotations

from typing import Final

from envoy.config.accesslog.v3 import accesslog_pb2
from envoy.config.core.v3 import config_source_pb2, grpc_service_pb2
from envoy.extensions.access_loggers.grpc.v3 import als_pb2
from google.protobuf import duration_pb2, wrappers_pb2

from echoplaned.core.door_headers import CLIENT_HEADER
from echoplaned.ports.gateway import OWN_CLUSTER
from echoplaned.xds.access_logs import CONTENT_TYPE, GRPC_STATUS
from echoplaned.xds.conversations import CONVERSATION_HEADER
from echoplaned.xds.messages import pack_any

_FLUSH_S: Final = 1
_FLUSH_BYTES: Final = 64 * 1024


def usage_log() -> accesslog_pb2.AccessLog:
    """Return what tells the daemon of every request that ended, a second late."""
    envoy = grpc_service_pb2.GrpcService.EnvoyGrpc(cluster_name=OWN_CLUSTER)
    common = als_pb2.CommonGrpcAccessLogConfig(
        log_name="usage",
        grpc_service=grpc_service_pb2.GrpcService(envoy_grpc=envoy),
        transport_api_version=config_source_pb2.ApiVersion.V3,
        buffer_flush_interval=duration_pb2.Duration(seconds=_FLUSH_S),
        buffer_size_bytes=wrappers_pb2.UInt32Value(value=_FLUSH_BYTES),
    )
    config = als_pb2.HttpGrpcAccessLogConfig(
        common_config=common,
        additional_request_headers_to_log=[CLIENT_HEADER, CONTENT_TYPE, CONVERSATION_HEADER],
        additional_response_headers_to_log=[GRPC_STATUS],
        additional_response_trailers_to_log=[GRPC_STATUS],
    )
    return accesslog_pb2.AccessLog(name="envoy.access_loggers.http_grpc", typed_config=pack_any(config))
