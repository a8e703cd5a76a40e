"""Enum values, times and durations as words, those that no client knows among them."""

from __future__ import annotations

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from echoplane.cli.telling import duration_text, enum_word, time_text
from echoplane.cli.text import dtype
from echoplane.v1 import diagnostics_pb2, keys_pb2, models_pb2, plans_pb2, rollouts_pb2, types_pb2

FILES = (diagnostics_pb2, keys_pb2, models_pb2, rollouts_pb2, types_pb2)


def test_enum_values_are_words() -> None:
    """A value is its name without the enum's prefix, the unspecified one nothing, and a newer one its number."""
    assert enum_word(types_pb2.HealthState, types_pb2.HEALTH_STATE_SERVING) == "SERVING"
    assert enum_word(types_pb2.HealthState, types_pb2.HEALTH_STATE_UNSPECIFIED) == ""
    assert enum_word(types_pb2.HealthState, 99) == "UNKNOWN_99"
    assert enum_word(types_pb2.HealthState, -1) == "UNKNOWN_-1"
    assert enum_word(rollouts_pb2.Verdict.Outcome, rollouts_pb2.Verdict.OUTCOME_PASS) == "PASS"
    assert dtype(plans_pb2.Plan(dtype=77).dtype) == "UNKNOWN_77"  # type: ignore[arg-type]  # what a newer daemon sends


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.DESCRIPTOR.name))
def test_every_prefix_is_found(file: object) -> None:
    """The prefix is read off the value 0, which every enum of the API calls UNSPECIFIED."""
    for enum in file.DESCRIPTOR.enum_types_by_name.values():  # type: ignore[attr-defined]  # a generated module
        assert enum.values_by_number[0].name.endswith("_UNSPECIFIED")


@pytest.mark.parametrize("seconds", [10**15, -(10**15), 2**63 - 1, -(2**63)])
def test_times_out_of_range(seconds: int) -> None:
    """A time that no calendar has is told by its seconds; any duration is one."""
    assert time_text(Timestamp(seconds=seconds), "%Y") == f"{seconds} s after 1970"
    assert duration_text(Duration(seconds=seconds, nanos=2**31 - 1)).endswith(" s")


def test_times() -> None:
    """A usual time has the form that was asked for."""
    assert time_text(Timestamp(seconds=86_400), "%Y-%m-%d %H:%M UTC") == "1970-01-02 00:00 UTC"
    assert time_text(Timestamp(seconds=1, nanos=-5), "%Y") == "1 s after 1970"
    assert duration_text(Duration(seconds=1, nanos=250_000_000)) == "1.25 s"
