"""What a reader sees of a rollout while it moves: typed lines of its history, and how many follow its routes."""

from __future__ import annotations

from pathlib import Path

from echoplaned.core.rollout_state import EntryKind, Phase, RolloutEntry
from echoplaned.testing.transcript import Transcript

STORIES = Path(__file__).with_name("transcripts")


def told(name: str) -> list[RolloutEntry]:
    """Play a story and return every line of its rollouts' histories."""
    transcript = Transcript()
    for line in (STORIES / f"{name}.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("given "):
            transcript.prepare(line.removeprefix("given "))
        elif line.startswith("> "):
            transcript.play(line[2:])
    found: list[RolloutEntry] = []
    for model in transcript.state.models.values():
        rollouts = (*model.past_rollouts, *((model.rollout,) if model.rollout is not None else ()))
        found += [entry for rollout in rollouts for entry in rollout.history]
    return found


def test_lines_have_a_kind() -> None:
    """Whatever its prose, a line says by its kind what it tells; the first one is always the creation."""
    for name, kinds in {
        "pause": {EntryKind.PAUSED, EntryKind.RESUMED},
        "promote_abort": {EntryKind.PROMOTED},
        "old_lost": {EntryKind.HELD},
    }.items():
        entries = told(name)
        assert entries[0].kind is EntryKind.CREATED
        assert kinds | {EntryKind.CREATED, EntryKind.MOVED} == {entry.kind for entry in entries}, name
    ended = told("update_good")[-1]
    assert (ended.kind, ended.phase) == (EntryKind.MOVED, Phase.SUCCEEDED)


def test_publishing_does_not_hide_the_subscribers() -> None:
    """Right after a publication nobody has the new routes, but the model still has as many subscribers as before."""
    transcript = Transcript()
    for line in ("load m v1", "reserved m/v1#0 host 128", "ready m/v1#0", "probes-passed m/v1#0", "acked m by=3/3"):
        transcript.play(line)
    assert transcript.state.models["m"].progress.subscriber_count == 3
    for line in ("update m v2", "reserved m/v2#0 host 128", "ready m/v2#0", "probes-passed m/v2#0"):
        transcript.play(line)
    progress = transcript.state.models["m"].progress
    assert not progress.acknowledged
    assert (progress.acknowledged_count, progress.subscriber_count) == (0, 3)


def test_twenty_silent_subscribers_are_named_and_all_counted() -> None:
    """However many do not answer, a rollout and its history name the first 20 of them, and say how many more there are."""
    transcript = Transcript()
    for line in ("load m v1", "reserved m/v1#0 host 128", "ready m/v1#0", "probes-passed m/v1#0", "acked m by=0/0"):
        transcript.play(line)
    for line in ("update m v2", "reserved m/v2#0 host 128", "ready m/v2#0", "probes-passed m/v2#0"):
        transcript.play(line)
    silent = [f"n{number:02}" for number in range(24)]
    transcript.play(f"acked m by=0/24 stale={','.join(silent)}")
    transcript.play(f"acked m by=0/24 stale={','.join(silent)}")
    model = transcript.state.models["m"]
    assert model.rollout is not None
    assert model.rollout.stale_subscribers == model.progress.stale == tuple(silent[:20])
    assert model.rollout.stale_subscriber_count == model.progress.stale_count == 24
    transcript.play("abort m")
    transcript.play(f"acked m by=0/24 stale={','.join(silent)}")
    found = transcript.state.models["m"].rollout
    assert found is not None
    assert found.history[-1].text.endswith("n18, n19 and 4 more)")
    transcript.play("acked m by=22/24 stale=n00,n01")
    found = transcript.state.models["m"].rollout
    assert found is not None
    assert (found.stale_subscribers, found.stale_subscriber_count) == (("n00", "n01"), 2)


def test_two_pins_at_once_are_both_kept() -> None:
    """Changes of two versions' pins that were asked for on the same state do not undo each other, whatever their order."""
    transcript = Transcript()
    for line in ("load m v1", "load m v2", "configure m pin=v1", "configure m pin=v2", "configure m labels=a:b"):
        transcript.play(line)
    versions = transcript.state.models["m"].versions
    assert {name: version.pinned for name, version in versions.items()} == {"v1": True, "v2": True}
    transcript.play("configure m unpin=v1")
    versions = transcript.state.models["m"].versions
    assert {name: version.pinned for name, version in versions.items()} == {"v1": False, "v2": True}
    assert transcript.state.models["m"].labels == (("a", "b"),)
