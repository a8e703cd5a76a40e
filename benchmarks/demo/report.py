"""The table at the end, and whether the story came true."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from rich.table import Table

from benchmarks.demo.story import Story
from echoplane.v1 import rollouts_pb2
from echoplaned.testing.loadgen import Sample

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the story: what was promised, and whether it was seen."""

    text: str
    ok: bool


def print_report(story: Story, samples: list[Sample], endings: dict[str, str]) -> bool:
    """Print what happened; return whether every promise was kept."""
    console = story.console
    for version, rollout in story.rollouts.items():
        console.print(stages_table(version, rollout))
    console.print(requests_table(samples))
    console.print(memory_table(story))
    checks = judge(story, samples, endings)
    for check in checks:
        console.print(
            f"[{'green' if check.ok else 'red'}]{'yes' if check.ok else 'NO '}[/] {check.text}", highlight=False
        )
    return all(check.ok for check in checks)


def stages_table(version: str, rollout: rollouts_pb2.Rollout) -> Table:
    """Return a rollout's stages with durations and the verdict that ended each, from its history."""
    table = Table(
        "stage", "phase", "seconds", "ended by", "evidence", title=f"update to {version}", title_justify="left"
    )
    events = list(rollout.history)
    for event, after in zip(events, [*events[1:], None], strict=True):
        ends = after.time if after is not None else rollout.end_time
        seconds = (ends.ToMilliseconds() - event.time.ToMilliseconds()) / 1000
        phase = rollouts_pb2.RolloutPhase.Name(event.phase).removeprefix("ROLLOUT_PHASE_")
        verdict = after.verdict if after is not None and after.HasField("verdict") else None
        told, evidence = "", ""
        if verdict is not None:
            outcome = rollouts_pb2.Verdict.Outcome.Name(verdict.verdict).removeprefix("OUTCOME_")
            told = f"{verdict.gate} {outcome}: {verdict.reason}"
            evidence = rollouts_pb2.Verdict.Evidence.Name(verdict.evidence).removeprefix("EVIDENCE_")
        if seconds >= 0.05 or verdict is not None:
            table.add_row(f"{event.stage}", phase, f"{seconds:.1f}", told, evidence)
    return table


def requests_table(samples: list[Sample]) -> Table:
    """Return who answered what."""
    table = Table("answered by", "ok", "failed", "how", title="requests", title_justify="left")
    for version in sorted({sample.version for sample in samples}):
        mine = [sample for sample in samples if sample.version == version]
        codes = Counter(sample.code for sample in mine if not sample.ok)
        how = ", ".join(f"{code} {count}" for code, count in codes.items())
        table.add_row(version or "nobody", str(sum(s.ok for s in mine)), str(sum(codes.values())), how)
    table.add_row("sent", str(len(samples)), "", "")
    return table


def memory_table(story: Story) -> Table:
    """Return predicted against measured bytes."""
    table = Table(
        "version", "predicted MiB", "at most", "measured", title="memory of one instance", title_justify="left"
    )
    for name, version in story.versions.items():
        memory = version.memory
        cells = (memory.predicted_bytes, memory.upper_bytes, memory.measured.increment_bytes)
        table.add_row(name, *(f"{cell / MIB:.1f}" for cell in cells))
    return table


def judge(story: Story, samples: list[Sample], endings: dict[str, str]) -> list[Check]:
    """Return every promise with what was seen."""
    bad = [s for s in samples if s.version == "cut64" and not s.ok]
    others = [s for s in samples if s.version != "cut64" and not s.ok]
    stages = {event.stage for event in story.rollouts["int8"].history}
    reverted = _time_of(story.rollouts["cut64"], "cleaning")
    took = reverted - bad[0].time_s if bad and reverted else -1.0
    after = [s for s in samples if reverted and s.time_s > reverted + 1.0]
    back = bool(after) and all(s.version == "int8" and s.ok for s in after)
    return [
        Check(
            f"int8 went through all seven stages and serves ({endings['int8']})",
            endings["int8"] == "SUCCEEDED" and stages >= set(range(1, 8)),
        ),
        Check(f"cut64 was rolled back automatically ({endings['cut64']})", endings["cut64"] == "ROLLED_BACK"),
        Check(
            f"it was caught in its first stage (stage {story.rollouts['cut64'].stage})",
            story.rollouts["cut64"].stage == 1,
        ),
        Check(
            f"cut64 failed {len(bad)} requests, all of them over 64 tokens",
            bool(bad) and all(s.kind == "long" for s in bad),
        ),
        Check(f"nobody else failed a request ({len(others)})", not others),
        Check(f"from its first failed request to the acknowledged rollback: {took:.1f} s", took >= 0.0),
        Check(f"after it int8 answered everything ({len(after)} requests)", back),
    ]


def _time_of(rollout: rollouts_pb2.Rollout, beginning: str) -> float:
    times = [event.time.ToMilliseconds() / 1000 for event in rollout.history if event.text.startswith(beginning)]
    return times[0] if times else 0.0


def policy_text(policy: rollouts_pb2.RolloutPolicy) -> str:
    """Say what the policy promises, in words."""
    margin, confidence = f"{policy.max_error_increase:.0%}", f"{policy.confidence:.0%}"
    return (
        f"policy {policy.name}: a stage lasts at least {policy.stage_min_s:g} s and goes on only when the new version's error rate is "
        f"less than {margin} above the old one's, at {confidence} confidence; a good version is rolled back with a chance of at most "
        f"{policy.alpha:.1%}; no data holds"
    )
