"""Routes HTTP requests of a worker, counts them, and answers errors."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any, Final

import structlog

from echoplaned.core.budgets import Budget
from echoplaned.worker.http import oip
from echoplaned.worker.http.exchange import CallerGoneError, Exchange, Headers, Receive, Scope, Send
from echoplaned.worker.http.inference import ROUTES, Deps, body_limit, infer
from echoplaned.worker.http.problems import Api, Problem, RefusedError, problem_of
from echoplaned.worker.http.streams import write_stream_error
from echoplaned.worker.worker import Serving, Worker
from echoplaned.worker_contract.inference.counters import Call
from echoplaned.worker_contract.inference.errors import Blame, CallError, NotServingError, WrongModelError
from echoplaned.worker_contract.inference.requests import check_model

MAX_BODIES_BYTES: Final = 64 * 1024 * 1024
"""Of bodies that are being read at one time."""

_SMALL_BODY_BYTES: Final = 256 * 1024
_CLOSE: Final = (b"connection", b"close")
_log = structlog.get_logger()


class HttpApp:
    """The ASGI application of one worker.

    Args:
        worker: the worker's state.
        wall: seconds since the epoch.
    """

    def __init__(self, worker: Worker, wall: Callable[[], float]) -> None:
        self._worker = worker
        self._deps = Deps(wall)
        self._bodies = Budget("bytes of bodies that are being read", MAX_BODIES_BYTES, small=_SMALL_BODY_BYTES)
        self._started_s = int(wall())
        self._open = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self.is_stopping = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        exchange = Exchange(scope, receive, send, self._common_headers)
        self._worker.counters.calls += 1
        self._open += 1
        self._idle.clear()
        try:
            await self._answer(exchange)
        except CallerGoneError:
            return
        finally:
            self._open -= 1
            if not self._open:
                self._idle.set()

    async def wait_until_idle(self) -> None:
        """Return when no request is under way."""
        await self._idle.wait()

    def _common_headers(self) -> Headers:
        """Return the headers of every answer.

        They name the version, and say whether another request may follow on the connection.
        """
        serving = self._worker.serving
        named = [] if serving is None else [(b"x-model-version", _version(serving).encode())]
        return [*named, _CLOSE] if self.is_stopping or self._worker.draining else named

    async def _answer(self, exchange: Exchange) -> None:
        api = _api_of(exchange)
        try:
            self._check_open()
            route = ROUTES.get(exchange.path)
            asked = oip.split_path(exchange.path)
            if route is not None:
                _check_method(exchange, "POST")
                await self._infer(exchange, api, route)
            elif asked is not None and asked[2] == "infer":
                _check_method(exchange, "POST")
                await self._infer(exchange, api, infer)
            else:
                await self._tell(exchange, asked)
        except CallError as error:
            await exchange.refuse(problem_of(error), api)
        except RefusedError as refused:
            await exchange.refuse(refused.problem, api)

    # --- what is no inference ---

    async def _tell(self, exchange: Exchange, asked: tuple[str, str, str] | None) -> None:
        """Answer what needs no model, or only its name."""
        path = exchange.path
        if asked is not None and asked[2] in {"", "ready"}:
            _check_method(exchange, "GET")
            await self._tell_model(exchange, *asked)
        elif path in {"/v2", "/v2/"}:
            _check_method(exchange, "GET")
            await exchange.answer_json(200, oip.server_metadata())
        elif path in {"/v2/health/live", "/v2/health/ready"}:
            _check_method(exchange, "GET")
            ready = path.endswith("live") or self._worker.serving is not None
            await exchange.answer_json(200 if ready else 503, {path.rpartition("/")[2]: ready})
        elif path == "/v1/models" or path.startswith("/v1/models/"):
            _check_method(exchange, "GET")
            await self._tell_listing(exchange)
        else:
            raise RefusedError(Problem(404, f"there is nothing at {path[:200]!r}"))

    async def _tell_model(self, exchange: Exchange, model: str, version: str, what: str) -> None:
        serving = self._serving()
        check_model(model, version, serving.model.options)
        told = oip.model_metadata(serving) if not what else {"name": model, "ready": True}
        await exchange.answer_json(200, told)

    async def _tell_listing(self, exchange: Exchange) -> None:
        """Answer the one model in OpenAI's form."""
        serving = self._serving()
        model = serving.model.options.instance.version.model
        told = {"id": model, "object": "model", "created": self._started_s, "owned_by": "echoplane"}
        if exchange.path == "/v1/models":
            await exchange.answer_json(200, {"object": "list", "data": [told]})
        elif exchange.path.removeprefix("/v1/models/") == model:
            await exchange.answer_json(200, told)
        else:
            raise WrongModelError(f"the model {exchange.path.removeprefix('/v1/models/')[:64]!r} is not served here")

    # --- inference ---

    async def _infer(self, exchange: Exchange, api: Api, answer: _Answer) -> None:
        """Read a body, answer it, and count both as one request.

        A request is under way from when its body is there: before that nothing is asked of the model, which must not count as stuck.
        """
        try:
            serving = self._serving()
            body = await exchange.read_body(body_limit(serving, exchange.path), self._bodies)
        except (CallError, RefusedError, CallerGoneError) as error:
            self._worker.counters.begin().fail(_blame(error))
            raise
        with self._worker.counters.begin() as call:
            try:
                await _while_here(exchange, answer(self._deps, exchange, serving, body))
            except (CallError, RefusedError) as error:
                call.fail(_blame(error))
                if not exchange.has_begun:
                    raise
                problem = error.problem if isinstance(error, RefusedError) else problem_of(error)
                await write_stream_error(exchange, api, problem)
            except (CallerGoneError, asyncio.CancelledError):
                # Who leaves a model that stands still has waited for it.
                call.fail(Blame.SERVER if serving.batcher.is_stalled else Blame.CLIENT)
                raise
            except Exception:  # noqa: BLE001 - whatever it is, its caller is answered, and the worker goes on
                await self._fail(exchange, api, call)
            call.succeed()

    async def _fail(self, exchange: Exchange, api: Api, call: Call) -> None:
        """Answer for a fault of ours."""
        _log.exception("http.failed", path=exchange.path)
        call.fail(Blame.SERVER)
        problem = Problem(500, "the worker failed")
        if exchange.has_begun:
            await write_stream_error(exchange, api, problem)
        else:
            await exchange.refuse(problem, api)

    def _check_open(self) -> None:
        if self.is_stopping:
            raise RefusedError(Problem(503, "the worker is stopping"))

    def _serving(self) -> Serving:
        if self._worker.serving is None:
            raise NotServingError("this worker has no model")
        return self._worker.serving


_Answer = Callable[[Deps, Exchange, Serving, bytes], Coroutine[Any, Any, None]]


async def _while_here(exchange: Exchange, work: Coroutine[Any, Any, None]) -> None:
    """Do some work for as long as its caller waits for it.

    Raises:
        CallerGoneError: the caller has left; the work was cancelled.
    """
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(exchange.wait_until_gone())
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done() and not exchange.has_ended:
            raise CallerGoneError
        await working
    finally:
        for task in (working, leaving):
            await _end(task)


async def _end(task: asyncio.Future[None]) -> None:
    """Cancel a task and wait until it has ended."""
    if not task.done():
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await task


def _api_of(exchange: Exchange) -> Api:
    if exchange.path == "/v1/messages":
        return Api.ANTHROPIC
    return Api.OIP if exchange.path.startswith("/v2") else Api.OPENAI


def _check_method(exchange: Exchange, method: str) -> None:
    if exchange.method != method:
        raise RefusedError(
            Problem(405, f"{exchange.path[:200]} takes {method}, not {exchange.method[:16]}", allow=method)
        )


def _blame(error: Exception) -> Blame:
    if isinstance(error, CallError):
        return error.blame
    if isinstance(error, RefusedError):
        return Blame.LOAD if error.problem.status == 429 else Blame.CLIENT
    return Blame.CLIENT


def _version(serving: Serving) -> str:
    return serving.model.options.instance.version.version
