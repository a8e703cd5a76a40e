"""The other ways to one server: a bare Envoy with one route, and LiteLLM's proxy in an environment of its own."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from benchmarks.door.running import say
from benchmarks.door.world import MODEL, answers, end
from benchmarks.world import wait_until
from echoplaned.gateway.binary import find_envoy
from echoplaned.testing.daemon import free_port

LITELLM: Final = "litellm[proxy]==1.108.7"
START_S: Final = 600.0
_INSTALL_S: Final = 900.0
_TYPE: Final = "type.googleapis.com/envoy.extensions.filters"

Json = dict[str, object]


class ProxyMissingError(RuntimeError):
    """A way to compare with could not be had; the message says why."""


def bare_config(listen_port: int, backend: str) -> Json:
    """Return Envoy's whole configuration: one listener, one route, HTTP/1.1 on both sides."""
    host, _, port = backend.rpartition(":")
    router = {"name": "router", "typed_config": {"@type": f"{_TYPE}.http.router.v3.Router"}}
    route = {"match": {"prefix": "/"}, "route": {"cluster": "backend", "timeout": "0s"}}
    manager = {
        "@type": f"{_TYPE}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "bare",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        "http_filters": [router],
    }
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    endpoint = {"endpoint": {"address": _address(host, int(port))}}
    cluster = {
        "name": "backend",
        "type": "STATIC",
        "load_assignment": {"cluster_name": "backend", "endpoints": [{"lb_endpoints": [endpoint]}]},
    }
    listener = {"name": "bare", "address": _address("127.0.0.1", listen_port), "filter_chains": [chain]}
    return {"static_resources": {"listeners": [listener], "clusters": [cluster]}}


@contextlib.contextmanager
def bare_envoy(folder: Path, backend: str) -> Iterator[tuple[str, int]]:
    """Run the same Envoy as the gateway's with one route and one worker thread; yield its address and its process."""
    port = free_port()
    config = folder / "bare-envoy.json"
    config.write_text(json.dumps(bare_config(port, backend)), encoding="utf-8")
    command = [str(find_envoy()), "-c", str(config), "--concurrency", "1", "--disable-hot-restart"]
    with _running(command, folder / "bare-envoy.log", port, {}) as pid:
        yield f"127.0.0.1:{port}", pid


def litellm_config(backend: str) -> Json:
    """Return LiteLLM's configuration, which is JSON and so YAML too."""
    call = {"model": f"openai/{MODEL}", "api_base": f"http://{backend}/v1", "api_key": "none"}
    return {
        "model_list": [{"model_name": MODEL, "litellm_params": call}],
        "litellm_settings": {"telemetry": False, "num_retries": 0, "drop_params": False},
    }


@contextlib.contextmanager
def litellm(folder: Path, backend: str) -> Iterator[tuple[str, int]]:
    """Run LiteLLM's proxy with one worker process; yield its address and its process.

    Raises:
        ProxyMissingError: it could not be installed.
    """
    environment = install_litellm()
    port = free_port()
    config = folder / "litellm.yaml"
    config.write_text(json.dumps(litellm_config(backend)), encoding="utf-8")
    command = [str(environment / "bin" / "litellm"), "--config", str(config)]
    command += ["--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]
    # Without these it asks the network for prices, reports home, and wants a key, which no other way here has.
    offline = {
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_TELEMETRY": "False",
        "LITELLM_LOG": "ERROR",
        "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",
    }
    with _running(command, folder / "litellm.log", port, {**offline, "NO_PROXY": "*"}) as pid:
        yield f"127.0.0.1:{port}", pid


def install_litellm() -> Path:
    """Return an environment that has LiteLLM's proxy, made at the first call.

    Raises:
        ProxyMissingError: the registry does not give it.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "echoplane-benchmarks"
    environment = cache / LITELLM.replace("[proxy]==", "-")
    if (environment / "installed").exists():
        return environment
    uv = shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")
    if uv is None:
        raise ProxyMissingError("uv is not installed: make setup does")
    say(f"installing {LITELLM} into {environment.name} of the cache, once")
    shutil.rmtree(environment, ignore_errors=True)
    python = environment / "bin" / "python"
    try:
        for words in (["venv", "--quiet", "--python", sys.executable, str(environment)],
                      ["pip", "install", "--quiet", "--python", str(python), LITELLM]):  # fmt: skip
            subprocess.run([uv, *words], check=True, timeout=_INSTALL_S, capture_output=True, text=True)
    except subprocess.CalledProcessError as error:
        raise ProxyMissingError(f"{LITELLM} could not be installed: {error.stderr.strip()[-300:]}") from error
    (environment / "installed").touch()
    return environment


@contextlib.contextmanager
def _running(command: list[str], log: Path, port: int, more: dict[str, str]) -> Iterator[int]:
    """Run a proxy until the block's end; it answers by then."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env={**os.environ, **more})
    try:
        wait_until(
            lambda: process.poll() is not None or answers(f"127.0.0.1:{port}"), START_S, f"{command[0]} did not answer"
        )
        if process.poll() is not None:
            words = log.read_text(encoding="utf-8", errors="replace")[-500:]
            raise ProxyMissingError(f"{Path(command[0]).name} ended with {process.returncode}: {words}")
        yield process.pid
    finally:
        end(process)


def _address(host: str, port: int) -> Json:
    return {"socket_address": {"address": host, "port_value": port}}
