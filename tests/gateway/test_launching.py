"""What the next Envoy is: whose successor, by which numbers, and when another one is asked for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from echoplaned.gateway.launching import digest_of, plan_record
from echoplaned.gateway.options import GatewayOptions
from tests.gateway.test_records import put


def options(state_dir: Path) -> GatewayOptions:
    """Make options."""
    return GatewayOptions(state_dir, "127.0.0.1:80", Path("/bin/envoy"), "1.40.0")


def test_a_first_one_and_its_successors(tmp_path: Path) -> None:
    """Alone it has epoch 0; over one that shares its memory the next epoch; over another one epoch 0 and another number."""
    first = plan_record(options(tmp_path), "11", None)
    assert (first.generation, first.epoch, first.base_id) == (1, 0, options(tmp_path).base_id)
    put(tmp_path, first, lock=True)
    second = plan_record(options(tmp_path), "11", first)
    assert (second.generation, second.epoch, second.base_id) == (2, 1, first.base_id)
    other = plan_record(options(tmp_path), "12", first)
    assert (other.epoch, other.base_id) == (0, first.base_id + 1)
    # One that was left alone while an older one still drains keeps away from that one's memory.
    assert plan_record(options(tmp_path), "11", None).base_id == first.base_id + 1


def test_what_asks_for_another_process(tmp_path: Path) -> None:
    """Settings that only a new process takes over, its binary and its address; not how large logs may be."""
    one = options(tmp_path)
    same = replace(one, max_log_bytes=1)
    assert digest_of(one, "11") == digest_of(same, "11")
    others = [
        replace(one, concurrency=3),
        replace(one, max_connections=3),
        replace(one, max_heap_bytes=3),
        replace(one, listening="127.0.0.1:81"),
        replace(one, version="1.41.0"),
    ]
    assert len({digest_of(each, "11") for each in (one, *others)} | {digest_of(one, "12")}) == 7
