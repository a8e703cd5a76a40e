"""Ends a stream that has begun with an error, in the words of its API."""

from __future__ import annotations

from echoplaned.worker.http.exchange import Exchange, to_json
from echoplaned.worker.http.generation import sse
from echoplaned.worker.http.problems import Api, Problem


async def write_stream_error(exchange: Exchange, api: Api, problem: Problem) -> None:
    """End a stream with an error; nothing that says that all went well follows it."""
    await exchange.end_stream(sse(to_json(problem.body(api)), "error" if api is Api.ANTHROPIC else ""))
