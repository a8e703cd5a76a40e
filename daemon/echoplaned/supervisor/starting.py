"""A start of an engine, from its first process to its first answer.

Or to the reason why there is none.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from typing import Final

from echoplaned.engine_kinds.foreign import Dialect, ForeignEngine, ScoringMethod
from echoplaned.supervisor.http import EngineAwayError, EngineHttp, EngineSlowError
from echoplaned.supervisor.launching import Prepared
from echoplaned.supervisor.llama_server import LlamaServer
from echoplaned.supervisor.log import EngineLog
from echoplaned.supervisor.openai import OpenAi
from echoplaned.supervisor.process import EngineProcess
from echoplaned.supervisor.translating import Translator
from echoplaned.worker_contract.golden import golden_text
from echoplaned.worker_contract.inference.errors import CallError
from echoplaned.worker_contract.inference.sampling import Sampling
from echoplaned.worker_contract.order import LoadFailedError
from echoplaned.worker_contract.signal_names import signal_name

_POLL_FIRST_S: Final = 0.02
_POLL_MAX_S: Final = 0.5
_HEALTH_TIMEOUT_S: Final = 5.0
_END_TOLD_S: Final = 1.0
# Of any engine: another start would end the same way.
_EXIT_CAUSES: Final = {
    -signal.SIGILL: "it was built for another CPU: this one lacks an instruction; install a build for this machine"
}


async def start_engine(engine: ForeignEngine, prepared: Prepared, process: EngineProcess, log: EngineLog) -> Translator:
    """Wait until an engine that was started is ready, and have it answer once.

    How long it may take is for the daemon to say.

    Raises:
        LoadFailedError: it ended, or does not answer as it should.
    """
    http = EngineHttp(prepared.address)
    await _wait_until_ready(engine, prepared, process, log)
    if prepared.address.socket:
        os.chmod(prepared.address.socket, 0o600)  # noqa: PTH101 - a socket's path as text
    translator = _translator(engine, prepared, http)
    # The first answer and the first score of some engines take minutes (they compile for it): now, while nobody waits.
    try:
        await translator.open()
        await translator.generate(golden_text(0), Sampling(max_tokens=1))
        if engine.scoring is not ScoringMethod.NONE:
            await translator.score(golden_text(1), truncate=True)
    except (CallError, EngineAwayError, EngineSlowError) as error:
        # Its sockets close before its end is told, and an end is no verdict on the version.
        if await process.ends_within(_END_TOLD_S):
            raise why_ended(engine, process.code or 0, log) from error
        text = f"the engine is ready and does not answer: {error}"
        raise LoadFailedError(text, retryable=isinstance(error, EngineAwayError)) from error
    return translator


def why_ended(engine: ForeignEngine, code: int, log: EngineLog) -> LoadFailedError:
    """Return what it means that an engine ended during its start.

    With the engine's own line, and whether another start would end the same way.
    """
    how = f"was killed by {signal_name(-code)}" if code < 0 else f"ended with exit code {code}"
    line = log.why()
    cause = log.cause
    known = dict(engine.exit_causes).get(code, _EXIT_CAUSES.get(code, ""))
    hint = "; ".join(filter(None, (cause.hint if cause is not None else "", known)))
    text = f"the engine {how} before it was ready: {line or 'it wrote nothing'}"
    is_final = bool(known) or (cause is not None and not cause.retryable)
    return LoadFailedError(f"{text} ({hint})" if hint else text, retryable=not is_final)


async def _wait_until_ready(engine: ForeignEngine, prepared: Prepared, process: EngineProcess, log: EngineLog) -> None:
    route = engine.routes.health.format_map(prepared.launch.options)
    pause_s = _POLL_FIRST_S
    while True:
        if not process.is_alive:
            raise why_ended(engine, process.code or 0, log)
        http = EngineHttp(prepared.address)
        with contextlib.suppress(EngineAwayError, EngineSlowError):
            answer = await http.call("GET", route, timeout_s=_HEALTH_TIMEOUT_S)
            if answer.status == 200 and process.is_alive:
                http.close()
                return
        http.close()
        await asyncio.sleep(pause_s)
        pause_s = min(_POLL_MAX_S, 1.3 * pause_s)


def _translator(engine: ForeignEngine, prepared: Prepared, http: EngineHttp) -> Translator:
    launch = prepared.launch
    if engine.dialect is Dialect.LLAMA_SERVER:
        return LlamaServer(http, launch.context_length)
    return OpenAi(http, engine, launch.served_names[0], launch.context_length)
