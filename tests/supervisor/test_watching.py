"""Readings of an engine: how often by what they cost, and what is no reading ends none that follows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from echoplaned.core.numbers import MAX_COUNT
from echoplaned.engine_kinds import llama_cpp
from echoplaned.engine_kinds.foreign import Build, MetricNames
from echoplaned.engine_kinds.llama_cpp import METRICS
from echoplaned.supervisor import watching
from echoplaned.supervisor.launching import engine_of
from echoplaned.supervisor.memory import FamilyUse, MemoryMeter
from echoplaned.supervisor.metrics import EngineNumbers, read_page
from echoplaned.supervisor.watching import EngineWatch, pause_s
from tests.supervisor.test_http import answer, engine, read_request

ENGINE = engine_of(llama_cpp.KIND)


@pytest.mark.parametrize(
    ("took_s", "serving", "expected_s"),
    [
        (0.001, False, 0.5),
        (0.001, True, 5.0),
        (0.08, False, 4.0),
        (0.08, True, 5.0),
        (0.4, True, 20.0),
        (9.0, False, 60.0),
    ],
)
def test_readings_take_a_fiftieth_of_a_core(took_s: float, serving: bool, expected_s: float) -> None:
    """A small engine is read often while it starts; one of many gigabytes as often as that allows, once a minute at least."""
    assert pause_s(took_s, serving=serving) == pytest.approx(expected_s)


STEP = METRICS("").steps[0].name


@asynccontextmanager
async def watched(
    pages: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[EngineWatch, list[str]]]:
    """Watch an engine with these pages, a hundred times as often as usual; yield the watch and what it notes."""
    monkeypatch.setattr(watching, "_IDLE_S", 0.01)
    monkeypatch.setattr(watching, "_BUSY_S", 0.01)
    monkeypatch.setattr(watching, "_read_timed", lambda: (FamilyUse(), 0.0))
    notes: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            path = (await read_request(reader)).split()[1].decode()
            writer.write(answer(pages[path].encode()))

    async with engine(serve) as http:
        build = Build("llama.cpp", ("p",))
        watch = EngineWatch(ENGINE, build, http._address, lambda: None, MemoryMeter(), note=notes.append)
        try:
            await watch.started()
            yield watch, notes
        finally:
            watch.close()


async def steps_become(watch: EngineWatch, steps: int) -> None:
    """Return once the watch tells these steps."""
    async with asyncio.timeout(10):
        while watch.numbers is None or watch.numbers.steps != steps:
            await asyncio.sleep(0.01)


async def test_numbers_beyond_all_bounds_do_not_end_the_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes after them is read as before, and a context of 30 digits is one that a report can hold."""
    pages = {
        "/metrics": f"{STEP} 1e308\n{STEP} 1e308\n",
        "/v1/models": '{"data": [{"max_model_len": 1%s}]}' % ("0" * 30),
    }
    async with watched(pages, monkeypatch) as (watch, notes):
        assert watch.numbers is not None
        assert watch.numbers.steps == MAX_COUNT
        assert watch.figures is not None
        assert watch.figures.context_length == MAX_COUNT
        pages["/metrics"] = f"{STEP} 10\n"
        await steps_become(watch, 10)
        assert notes == []


async def test_a_page_has_a_bound_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is longer is not read, which is noted once, at the start and later; the numbers stay as they were."""
    page = f"{STEP} 5\n" + "x 1\n" * (1024 * 1024)
    pages = {"/metrics": page, "/v1/models": "{}"}
    async with watched(pages, monkeypatch) as (watch, notes):
        assert watch.numbers is None
        pages["/metrics"] = f"{STEP} 7\n"
        await steps_become(watch, 7)
        pages["/metrics"] = page
        await asyncio.sleep(0.1)
        assert watch.numbers is not None
        assert watch.numbers.steps == 7
        assert len(notes) == 1
        assert "more than 4194304 bytes" in notes[0]


async def test_whatever_a_reading_raises_the_next_one_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each kind of trouble is noted once, however often it comes."""
    troubles: list[Exception] = [ValueError("a"), ValueError("b"), TypeError("c"), RecursionError("d"), ValueError("e")]

    def read(text: str, names: MetricNames) -> EngineNumbers:
        if troubles:
            raise troubles.pop(0)
        return read_page(text, names)

    monkeypatch.setattr(watching, "read_page", read)
    async with watched({"/metrics": f"{STEP} 3\n", "/v1/models": "[]"}, monkeypatch) as (watch, notes):
        await steps_become(watch, 3)
    assert [note.partition(": ")[2] for note in notes] == ["ValueError: a", "TypeError: c", "RecursionError: d"]


async def test_a_reading_of_memory_that_fails_is_taken_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """As one of the engine's pages is."""
    monkeypatch.setattr(watching, "pause_s", lambda *_, **__: 0.01)
    async with watched({"/metrics": "", "/v1/models": "{}"}, monkeypatch) as (watch, notes):
        monkeypatch.setattr(watching, "_read_timed", lambda: 1 // 0)
        await asyncio.sleep(0.1)
        monkeypatch.setattr(watching, "_read_timed", lambda: (FamilyUse(anon_bytes=7), 0.0))
        async with asyncio.timeout(10):
            while watch.memory.report().rss_bytes != 7:
                await asyncio.sleep(0.01)
    assert len(notes) == 1
