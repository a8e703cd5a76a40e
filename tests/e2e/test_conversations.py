"""An update of a model whose only caller is one conversation: the real gateway keeps it at one version, and no gate minds."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from tests.e2e import e2e_system as e
from tests.e2e.e2e_gateway import gateway_system
from tests.gateway.gateway_stage import ask

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

MODEL = "embed"
CALLERS = 3
PAUSE_S = 0.03
"""So many callers with such a pause are some 60 requests a second."""


@dataclass
class Heard:
    """What the conversation heard: status and version of every answer, in order for each of its connections."""

    answers: list[list[tuple[int, str]]] = field(default_factory=lambda: [[] for _ in range(CALLERS)])

    @property
    def failed(self) -> list[tuple[int, str]]:
        """Answers that were none."""
        return [answer for told in self.answers for answer in told if answer[0] != 200]

    def went_forward_only(self) -> bool:
        """Whether no connection heard the old version after the new one."""
        versions = [[version for _, version in told] for told in self.answers]
        return all(told == sorted(told) for told in versions)


@contextmanager
def one_conversation(listening: str) -> Iterator[Heard]:
    """Let one user ask all the time, on several connections."""
    heard, over = Heard(), threading.Event()
    body = {"model": MODEL, "input": "The river", "user": "ann"}

    def talk(told: list[tuple[int, str]]) -> None:
        while not over.is_set():
            answer = ask(listening, "POST", "/v1/embeddings", body)
            told.append((answer.status, answer.headers.get("x-model-version", "")))
            over.wait(PAUSE_S)

    callers = [threading.Thread(target=talk, args=(told,)) for told in heard.answers]
    for caller in callers:
        caller.start()
    try:
        yield heard
    finally:
        over.set()
        for caller in callers:
            caller.join()


def test_an_update_under_one_conversation_succeeds() -> None:
    """The new version has five percent, and hears nothing of it: it is neither missed there nor blamed, and ends with all of it."""
    with gateway_system() as (system, listening):
        system.load(MODEL)
        with one_conversation(listening) as heard:
            policy = e.fast_policy(stages_percent=[5, 100], stage_min_s=10.0, stage_max_s=60.0, soak_s=3.0)
            system.finish(system.update(MODEL, "v2", "encoder", policy), 240.0)
        rollout = system.rollout(MODEL)
        assert rollout.outcome == e.Outcome.ROLLOUT_OUTCOME_SUCCEEDED
        assert not heard.failed
        assert heard.went_forward_only()
        assert all(told[0][1] == "v1" and told[-1][1] == "v2" for told in heard.answers)
