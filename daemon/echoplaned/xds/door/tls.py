"""TLS of the gateway's listener, with a certificate from a file Envoy watches.

So a new certificate is taken without a changed listener, which would drain its connections.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from envoy.config.core.v3 import base_pb2, config_source_pb2
from envoy.extensions.transport_sockets.tls.v3 import common_pb2, secret_pb2, tls_pb2

from echoplaned.ports.gateway import GATEWAY_CERTIFICATE
from echoplaned.xds.messages import pack_any

_TLS_SOCKET: Final = "envoy.transport_sockets.tls"
_PROTOCOLS: Final = ("h2", "http/1.1")


def tls_socket(secret: Path) -> base_pb2.TransportSocket:
    """Return what the listener reads and writes through.

    Args:
        secret: file with certificate and key as one ``Secret``; another one is renamed to its name.
    """
    # Told of moves into this directory: what is written into a file in place is not seen, and so never half.
    source = config_source_pb2.PathConfigSource(
        path=str(secret), watched_directory=base_pb2.WatchedDirectory(path=str(secret.parent))
    )
    config = secret_pb2.SdsSecretConfig(
        name=GATEWAY_CERTIFICATE,
        sds_config=config_source_pb2.ConfigSource(
            path_config_source=source, resource_api_version=config_source_pb2.ApiVersion.V3
        ),
    )
    context = tls_pb2.DownstreamTlsContext(
        common_tls_context=tls_pb2.CommonTlsContext(
            tls_params=common_pb2.TlsParameters(tls_minimum_protocol_version=common_pb2.TlsParameters.TLSv1_2),
            tls_certificate_sds_secret_configs=[config],
            alpn_protocols=_PROTOCOLS,
        )
    )
    return base_pb2.TransportSocket(name=_TLS_SOCKET, typed_config=pack_any(context))
