"""Pages, names, repeats and the count of loads, each by itself."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echoplane.v1 import models_pb2
from echoplaned.core.errors import FieldInvalidError, PageTokenInvalidError, RequestIdReusedError
from echoplaned.core.facts import Dtype
from echoplaned.core.failure import FailureDetail, Reason
from echoplaned.core.ids import VersionKey
from echoplaned.core.spec import ReservoirOverrides, ServingShape, VersionSpec
from echoplaned.core.state import Operation, OperationKind, State
from echoplaned.rpc.convert.events import resume_token, sequence_of
from echoplaned.rpc.deduplication import RequestDeduplicator, digest_of
from echoplaned.rpc.load_outcomes import LoadOutcomeCounter, LoadOutcomeCounts
from echoplaned.rpc.names import parse_model, parse_operation, parse_rollout, parse_version
from echoplaned.rpc.paging import MAX_PAGE_BYTES, PageQuery, paginate, write_page
from echoplaned.rpc.peer import set_peer
from echoplaned.rpc.version_request import default_version_id
from tests.turning import counted_turns

QUERY = PageQuery("ListThings", "a")


@given(st.lists(st.integers(0, 99), unique=True, max_size=40), st.integers(1, 7))
def test_pages_are_the_list(items: list[int], size: int) -> None:
    """All pages one after the other are the sorted list, each item once."""
    seen: list[int] = []
    token = ""
    while True:
        page = paginate(items, lambda i: (i,), QUERY, size, token)
        assert len(page.items) <= size
        seen += page.items
        token = page.next_page_token
        if not token:
            break
    assert seen == sorted(items)


async def _write(sizes: list[int], token: str = "") -> tuple[list[models_pb2.Model], str]:
    """Return a page of messages of these sizes, as many as there are."""
    asked = models_pb2.ListModelsRequest(page_size=1000, page_token=token)
    return await write_page(
        range(len(sizes)), lambda i: (i,), asked, QUERY, lambda i: models_pb2.Model(name=f"{i} {'x' * sizes[i]}")
    )


async def test_a_page_ends_at_its_bytes() -> None:
    """However many items are asked for, a page is 1 MiB at most; the next one goes on where it ended."""
    sizes = [4000] * 600
    seen: list[models_pb2.Model] = []
    token, pages = "", 0
    while token or not pages:
        models, token = await _write(sizes, token)
        assert 0 < sum(each.ByteSize() for each in models) <= MAX_PAGE_BYTES
        seen += models
        pages += 1
    assert [each.name.split(" ")[0] for each in seen] == [str(number) for number in range(600)]
    assert pages == 3


async def test_a_page_has_an_item_in_any_case() -> None:
    """An item that is larger than a page is a page of its own, and the next ones are not lost."""
    sizes = [2 * MAX_PAGE_BYTES, 1, 2 * MAX_PAGE_BYTES]
    first, token = await _write(sizes)
    second, token = await _write(sizes, token)
    third, token = await _write(sizes, token)
    assert [len(page) for page in (first, second, third)] == [1, 1, 1]
    assert token == ""


async def test_others_go_on_while_a_page_is_written() -> None:
    """A long page is written in pieces."""
    async with counted_turns() as turns:
        await _write([10] * 1000)
    assert turns.count >= 50


@given(st.text(max_size=60))
def test_other_tokens_are_refused(token: str) -> None:
    """Whatever a caller sends as a token, it is either empty or refused."""
    if token:
        with pytest.raises(PageTokenInvalidError):
            paginate([1, 2], lambda i: (i,), QUERY, 1, token)


def test_a_token_of_another_scope() -> None:
    """A token of one parent is none of another's, nor of another list."""
    token = paginate([1, 2], lambda i: (i,), QUERY, 1, "").next_page_token
    assert paginate([1, 2], lambda i: (i,), QUERY, 1, token).items == (2,)
    for other in (PageQuery("ListThings", "b"), PageQuery("ListOthers", "a")):
        with pytest.raises(PageTokenInvalidError):
            paginate([1, 2], lambda i: (i,), other, 1, token)


def test_a_token_with_a_key_of_another_form() -> None:
    """A token whose key cannot be compared with the list's is refused."""
    token = paginate(["a", "b"], lambda i: (i,), QUERY, 1, "").next_page_token
    with pytest.raises(PageTokenInvalidError):
        paginate([1, 2], lambda i: (i,), QUERY, 1, token)


@given(st.integers(0, 2**60))
def test_resume_tokens_round_trip(sequence: int) -> None:
    """A resume token names its event."""
    assert sequence_of(resume_token(sequence)) == sequence


def test_names() -> None:
    """Full names and, where the API says so, bare ids."""
    assert parse_model("minilm") == parse_model("models/minilm") == "minilm"
    assert parse_version("models/m/versions/v1.0_b") == VersionKey("m", "v1.0_b")
    assert parse_rollout("models/m/rollouts/r1") == ("m", "r1")
    assert parse_operation("operations/o1") == parse_operation("o1") == "o1"


@given(st.text(st.sampled_from("models/versions.rollouts\n-aA\x00"), max_size=30))
def test_bad_names_are_field_errors(text: str) -> None:
    """A text is a name or a FieldInvalidError, never anything else."""
    for parse in (parse_model, parse_version, parse_rollout, parse_operation):
        with suppress(FieldInvalidError):
            parse(text)
            assert "\n" not in text


def test_digests_leave_the_request_id_out() -> None:
    """Two requests with the same body are the same; another body, or another kind of request, is not."""
    load = models_pb2.LoadModelRequest
    same = {digest_of(load(model_id="a", request_id=i, labels={"x": "1", "y": "2"})) for i in ("r1", "r2", "")}
    assert len(same) == 1
    assert digest_of(load(model_id="b", labels={"x": "1", "y": "2"})) not in same
    assert digest_of(load(model_id="a")) != digest_of(models_pb2.UpdateModelRequest(model_id="a"))


def test_a_default_version_id_names_what_was_asked_for() -> None:
    """It is the same in every release for the same wish; another density of the reservoir's blocks is another version."""
    spec = VersionSpec("file:m", "/models/m", "blake3:00", ServingShape(Dtype.FP32, 256, 8, "torch"))
    assert default_version_id(spec) == "09667ff221b3"
    denser = replace(spec, reservoir=ReservoirOverrides(block_density=0.25))
    assert default_version_id(denser) != default_version_id(spec)


class _Memory:
    """A memory of requests, and what was made by it."""

    def __init__(self, limit: int) -> None:
        self.memory = RequestDeduplicator(limit)
        self.made: list[str] = []

    async def call(self, request_id: str, digest: str = "a", *, broken: bool = False) -> bool:
        """Make a call; return whether something was done."""
        before = len(self.made)

        async def give() -> asyncio.Future[Operation | None]:
            if broken:
                raise ZeroDivisionError
            self.made.append(request_id)
            outcome: asyncio.Future[Operation | None] = asyncio.get_running_loop().create_future()
            outcome.set_result(None)
            return outcome

        await self.memory.once(State(), request_id, digest, give)
        return len(self.made) > before


async def test_memory_of_requests() -> None:
    """A call is made once; one that failed may be made again; the oldest are forgotten."""
    memory = _Memory(limit=2)
    assert [await memory.call(each) for each in ("r1", "r1", "", "")] == [True, False, True, True]
    with pytest.raises(RequestIdReusedError):
        await memory.call("r1", "b")
    with pytest.raises(ZeroDivisionError):
        await memory.call("r2", broken=True)
    assert await memory.call("r2")
    assert await memory.call("r3")
    assert await memory.call("r1"), "r1 was forgotten: two came after it"


async def test_one_connection_puts_out_its_own_ids() -> None:
    """Whoever calls without end makes the daemon forget its own ids; those of others stay."""
    memory = _Memory(limit=100)
    set_peer("small")
    assert await memory.call("mine")
    set_peer("greedy")
    for number in range(300):
        assert await memory.call(f"g{number}")
    assert not await memory.call("mine")
    assert [await memory.call(f"g{number}") for number in (299, 250, 249)] == [False, False, True]


def test_loads_are_counted_once() -> None:
    """Each load that ended since the start is counted once, by its outcome."""

    def load(
        number: int, reason: Reason | None = None, took_s: float = 1.0, kind: OperationKind = OperationKind.LOAD
    ) -> Operation:
        failure = None if reason is None else FailureDetail(reason, "no")
        begin = 100.0
        return Operation(
            f"o{number}", kind, "m", create_time_s=begin, end_time_s=begin + took_s, done=True, failure=failure
        )

    loads = [
        load(1),
        load(2, took_s=0.0),
        load(3, Reason.CANCELLED),
        load(4, Reason.MEMORY_INSUFFICIENT),
        load(5, Reason.PROBE_FAILED),
        load(6, kind=OperationKind.UPDATE),
        Operation("o7", OperationKind.LOAD, "m", create_time_s=100.0),
    ]
    # Ended before the start, and after it by a clock that was put back since.
    old = Operation("o8", OperationKind.LOAD, "m", create_time_s=900.0, end_time_s=901.0, done=True)
    loads.append(old)
    tally = LoadOutcomeCounter(State(operations={"o8": old}))
    state = State(operations={o.operation_id: o for o in loads})
    tally.count_refused()
    expected = LoadOutcomeCounts(succeeded=1, failed=1, refused=2, cancelled=1, cached=1)
    assert tally.observe(state) == expected
    assert tally.observe(state) == expected
    assert tally.observe(State()) == expected
