"""Web pages and the gateway, in the real Envoy: named origins may call models, and nobody else's browser lets them read anything."""

from __future__ import annotations

import asyncio

import pytest

from tests.gateway.gateway_stage import CHAT, Answer, GatewayStage, gateway_stage

pytestmark = pytest.mark.system

PAGE = "https://app.example"
ASKED = [
    "authorization",
    "content-type",
    "x-stainless-arch",
    "x-stainless-lang",
    "x-stainless-os",
    "x-stainless-package-version",
]
ASKED += ["x-stainless-retry-count", "x-stainless-runtime", "x-stainless-runtime-version", "x-stainless-timeout"]
"""What OpenAI's own client sends from a browser."""


async def preflight(stage: GatewayStage, origin: str, path: str = CHAT, **more: str) -> Answer:
    """Ask as a browser does before a page's request."""
    wanted = {"access-control-request-method": "POST", "access-control-request-headers": ",".join(ASKED)}
    headers = {"origin": origin, **wanted, **{name.replace("_", "-"): value for name, value in more.items()}}
    return await stage.ask("OPTIONS", path, None, headers)


def names(answer: Answer) -> set[str]:
    """Return the names of an answer's headers that browsers heed here."""
    return {name for name in answer.headers if name.startswith("access-control-")}


def allowed(answer: Answer, header: str) -> set[str]:
    """Return the words of a list in a header."""
    return {word.strip().lower() for word in answer.headers[header].split(",")}


async def test_named_pages_may_call_models() -> None:
    """Preflights are answered with what OpenAI's client needs; answers, errors and streams are readable; credentials never go along."""
    async with gateway_stage(cors_origins=(PAGE, "http://localhost:3000")) as stage:
        for origin in (PAGE, "http://localhost:3000"):
            for path in (CHAT, "/v1/models", "/v1/messages", "/v2/models/m/infer"):
                answer = await preflight(stage, origin, path)
                assert (answer.status, answer.headers["access-control-allow-origin"]) == (204, origin), (path, answer)
                assert allowed(answer, "access-control-allow-headers") >= set(ASKED)
                assert allowed(answer, "access-control-allow-methods") == {"get", "post", "options"}
                assert "access-control-allow-credentials" not in answer.headers
        assert stage.engines[0].calls == 0
        private = await preflight(stage, PAGE, access_control_request_private_network="true")
        assert private.headers["access-control-allow-private-network"] == "true"
        for body, status in (({"model": "m"}, 200), ({"model": "nobody"}, 404), (b"{", 400)):
            answer = await stage.ask("POST", CHAT, body, {"origin": PAGE})
            assert (answer.status, answer.headers["access-control-allow-origin"]) == (status, PAGE)
            assert (answer.headers["vary"], "x-model-version" in answer.headers["access-control-expose-headers"]) == (
                "origin",
                True,
            )
        for _ in range(2):
            stage.engines[0].gate.release()
        stream = await stage.ask("POST", CHAT, {"model": "m", "stream": True}, {"origin": PAGE})
        assert (stream.status, stream.headers["access-control-allow-origin"]) == (200, PAGE)


async def test_other_pages_may_not() -> None:
    """Origins that only look alike get no word of permission, also where the engine itself would permit everybody."""
    own = b"access-control-allow-origin: *\r\naccess-control-allow-credentials: true\r\n"
    async with gateway_stage(cors_origins=(PAGE,)) as stage:
        stage.engines[0].own_headers = own
        others = (
            "https://evil.example",
            "null",
            "*",
            f"{PAGE}.evil.example",
            "http://app.example",
            f"{PAGE}:8443",
            "https://APP.example",
        )
        for origin in others:
            answer = await preflight(stage, origin)
            assert (answer.status, names(answer)) == (400, set()), origin
            assert not names(await stage.ask("POST", CHAT, {"model": "m"}, {"origin": origin})), origin
        assert not names(await stage.ask("POST", CHAT, {"model": "m"}))
        named = await stage.ask("POST", CHAT, {"model": "m"}, {"origin": PAGE})
        assert named.headers["access-control-allow-origin"] == PAGE
        assert "access-control-allow-credentials" not in named.headers


async def test_every_page_and_none() -> None:
    """`*` lets every page in, but not from a public address to this private one; without the setting nothing is answered."""
    async with gateway_stage(cors_origins=("*",)) as stage:
        answer = await preflight(stage, "https://any.example", access_control_request_private_network="true")
        assert (answer.status, answer.headers["access-control-allow-origin"]) == (204, "https://any.example")
        assert not {"access-control-allow-credentials", "access-control-allow-private-network"} & names(answer)
    async with gateway_stage() as stage:
        await asyncio.sleep(0)
        assert ((await preflight(stage, PAGE)).status, names(await preflight(stage, PAGE))) == (400, set())
        assert not names(await stage.ask("POST", CHAT, {"model": "m"}, {"origin": PAGE}))
