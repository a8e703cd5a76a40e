"""The gateway's one listener, which never changes while the daemon runs.

A changed listener drains its connections.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from envoy.config.accesslog.v3 import accesslog_pb2
from envoy.config.common.mutation_rules.v3 import mutation_rules_pb2
from envoy.config.core.v3 import address_pb2, base_pb2, extension_pb2, protocol_pb2, substitution_format_string_pb2
from envoy.config.listener.v3 import listener_components_pb2, listener_pb2
from envoy.extensions.access_loggers.file.v3 import file_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2 as hcm_pb2
from envoy.extensions.http.early_header_mutation.header_mutation.v3 import header_mutation_pb2
from envoy.type.matcher.v3 import regex_pb2, string_pb2
from google.protobuf import duration_pb2, struct_pb2, wrappers_pb2

from echoplaned.core.door_headers import ANONYMOUS, CLIENT_HEADER
from echoplaned.ports.transcoding import TranscodedServices
from echoplaned.xds.door.filters import chain
from echoplaned.xds.door.names import (
    CONVERSATION_HEADER,
    KEY_HEADER,
    ODD_NAMES,
    RESERVED_PREFIXES,
    TRANSPORT_HEADERS,
    TRANSPORT_SUFFIX,
    VERSION_HEADER,
)
from echoplaned.xds.door.replies import local_replies
from echoplaned.xds.door.tls import tls_socket
from echoplaned.xds.door.usage import usage_log
from echoplaned.xds.gateway import CONNECTION_MANAGER, STREAM_IDLE_TIMEOUT_S
from echoplaned.xds.messages import ads_source, pack_any, serialise
from echoplaned.xds.names import DOOR_ROUTES, GATEWAY, ResourceType
from echoplaned.xds.resources import Resource, digest

HEADERS_TIMEOUT_S: Final = 10
"""For a request's headers to arrive whole: who sends them drop by drop holds a connection and no more."""

HANDSHAKE_TIMEOUT_S: Final = 10
"""For a TLS handshake: who does not end it holds a connection and no more."""

REQUEST_TIMEOUT_S: Final = 120.0
"""For a whole request to arrive, or for its answer to begin: the same for bodies. A gRPC stream that nothing was answered on ends too."""

IDLE_TIMEOUT_S: Final = 600
"""For a connection on which nothing is asked."""

MAX_HEADERS_KIB: Final = 16
"""Of one request. Behind the gateway gRPC counts 32 bytes more a header, 100 at most, and refuses above 32 KiB (``worker_contract``)."""

SERVER_NAME: Final = "echoplane"
_ACCESS_LOG: Final = {
    "time": "%START_TIME%",
    "method": "%REQ(:METHOD)%",
    "path": "%PATH(NQ:ORIG_OR_PATH)%",
    "protocol": "%PROTOCOL%",
    "status": "%RESPONSE_CODE%",
    "grpc_status": "%GRPC_STATUS_NUMBER%",
    "details": "%RESPONSE_CODE_DETAILS%",
    "flags": "%RESPONSE_FLAGS%",
    "cluster": "%UPSTREAM_CLUSTER_RAW%",
    "version": f"%RESP({VERSION_HEADER})%",
    "client": f"%REQ({CLIENT_HEADER})%",
    "conversation": f"%REQ({CONVERSATION_HEADER})%",
    "bytes_received": "%BYTES_RECEIVED%",
    "bytes_sent": "%BYTES_SENT%",
    "duration_ms": "%DURATION%",
    "first_byte_ms": "%RESPONSE_DURATION%",
    "request_id": "%REQ(X-REQUEST-ID)%",
    "peer": "%DOWNSTREAM_REMOTE_ADDRESS%",
}


@dataclass(frozen=True, slots=True)
class DoorOptions:
    """What the gateway's listener is made of.

    Attributes:
        host: IP address that it listens on.
        port: port from 1 to 65,535.
        access_log: file of one JSON object a request; None: none is written.
        transcoded: what REST calls are answered with; None: there is no REST.
        keys_required: whether a request without a key is refused.
        certificate: file with the ``Secret`` of its certificate; None: it speaks without TLS.
        usage: whether the daemon is told of every request that ended, by the access log service.
        request_timeout_s: for a whole request to arrive, unless its answer has begun.
    """

    host: str
    port: int
    access_log: Path | None = None
    transcoded: TranscodedServices | None = None
    keys_required: bool = False
    certificate: Path | None = None
    usage: bool = False
    request_timeout_s: float = REQUEST_TIMEOUT_S


def build_door_listener(options: DoorOptions) -> Resource:
    """Return the listener, which is served on the gateway's own socket."""
    payload = serialise(_listener(options))
    return Resource(ResourceType.LISTENER, GATEWAY, digest(payload), payload, (), {})


def _listener(options: DoorOptions) -> listener_pb2.Listener:
    manager = _connection_manager(options)
    filters = listener_components_pb2.FilterChain(
        filters=[listener_components_pb2.Filter(name=CONNECTION_MANAGER, typed_config=pack_any(manager))]
    )
    if options.certificate is not None:
        filters.transport_socket.CopyFrom(tls_socket(options.certificate))
        filters.transport_socket_connect_timeout.seconds = HANDSHAKE_TIMEOUT_S
    socket = address_pb2.SocketAddress(address=options.host, port_value=options.port)
    return listener_pb2.Listener(
        name=GATEWAY, address=address_pb2.Address(socket_address=socket), filter_chains=[filters]
    )


def _connection_manager(options: DoorOptions) -> hcm_pb2.HttpConnectionManager:
    manager = hcm_pb2.HttpConnectionManager(
        stat_prefix="door",
        codec_type=hcm_pb2.HttpConnectionManager.AUTO,
        rds=hcm_pb2.Rds(config_source=ads_source(), route_config_name=DOOR_ROUTES),
        http_filters=chain(options.transcoded),
        stream_idle_timeout=duration_pb2.Duration(seconds=STREAM_IDLE_TIMEOUT_S),
        request_headers_timeout=duration_pb2.Duration(seconds=HEADERS_TIMEOUT_S),
        request_timeout=duration_pb2.Duration(
            nanos=int(options.request_timeout_s % 1 * 1e9), seconds=int(options.request_timeout_s)
        ),
        common_http_protocol_options=protocol_pb2.HttpProtocolOptions(
            idle_timeout=duration_pb2.Duration(seconds=IDLE_TIMEOUT_S)
        ),
        http2_protocol_options=protocol_pb2.Http2ProtocolOptions(),
        server_name=SERVER_NAME,
        max_request_headers_kb=wrappers_pb2.UInt32Value(value=MAX_HEADERS_KIB),
        local_reply_config=local_replies(),
        # Before the first look at the routes: a route that a forged header chose would stay chosen.
        early_header_mutation_extensions=[_strip_reserved(keys_required=options.keys_required)],
        path_with_escaped_slashes_action=hcm_pb2.HttpConnectionManager.UNESCAPE_AND_FORWARD,
        merge_slashes=True,
    )
    manager.use_remote_address.value = True
    manager.normalize_path.value = True
    if options.access_log is not None:
        manager.access_log.append(_access_log(options.access_log))
    if options.usage:
        manager.access_log.append(usage_log())
    return manager


def _strip_reserved(*, keys_required: bool) -> extension_pb2.TypedExtensionConfig:
    """Return what removes reserved headers.

    Among them are those by which callers would speak to gRPC's transport. Then everybody is anonymous who may be, until a key is found.
    """
    named = mutation_rules_pb2.HeaderMutation.RemoveOnMatch
    mutations = [
        mutation_rules_pb2.HeaderMutation(remove_on_match=named(key_matcher=each))
        for each in (
            *(string_pb2.StringMatcher(prefix=prefix) for prefix in RESERVED_PREFIXES),
            string_pb2.StringMatcher(suffix=TRANSPORT_SUFFIX),
            string_pb2.StringMatcher(safe_regex=regex_pb2.RegexMatcher(regex=ODD_NAMES)),
        )
    ]
    mutations += [mutation_rules_pb2.HeaderMutation(remove=name) for name in TRANSPORT_HEADERS]
    if not keys_required:
        anonymous = base_pb2.HeaderValueOption(header=base_pb2.HeaderValue(key=KEY_HEADER, value=ANONYMOUS))
        mutations.append(mutation_rules_pb2.HeaderMutation(append=anonymous))
    config = header_mutation_pb2.HeaderMutation(mutations=mutations)
    return extension_pb2.TypedExtensionConfig(name="strip-reserved", typed_config=pack_any(config))


def _access_log(path: Path) -> accesslog_pb2.AccessLog:
    fields = struct_pb2.Struct()
    fields.update(_ACCESS_LOG)
    json_lines = substitution_format_string_pb2.SubstitutionFormatString(json_format=fields)
    config = file_pb2.FileAccessLog(path=str(path), log_format=json_lines)
    return accesslog_pb2.AccessLog(name="envoy.access_loggers.file", typed_config=pack_any(config))
