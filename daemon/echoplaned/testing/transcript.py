"""Transcripts, the core's tests: events as text in, effects as text out.

- ``# text`` is a comment, and stays.
- ``given VERSION STATE [option=value ...]``, first of all, prepares a state without showing how. ``given m/v1 serving``: loaded
  and routed to, acknowledged. ``given m/v2 ready``: loaded beside what serves, unrouted. ``given m/v2 observed``: the update to it
  has reached its first stage. Its operation is ``op-v2``, its rollout ``r-v2``; options are those of the order that began it.
- ``> verb arguments`` is an event; the lines under it, indented, are its effects. Line N starts operation ``opN`` or rollout
  ``rN``. ``> tick SECONDS`` moves the time.

``pytest tests/core/test_transcripts.py --rewrite`` writes what the core does under each event; read the diff before you keep it.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass, field

from echoplaned.core import commands as cmd
from echoplaned.core import engine_events as eng
from echoplaned.core import events as ev
from echoplaned.core.desired_effects import desired_effects
from echoplaned.core.errors import DaemonError
from echoplaned.core.failure import FailureDetail, Reason
from echoplaned.core.ids import InstanceKey
from echoplaned.core.memory import MeasuredMemory, MemoryHolder
from echoplaned.core.placement import LOCAL_NODE, DeviceShare, Placement
from echoplaned.core.rollout_state import GateVerdict, Verdict
from echoplaned.core.spec import BehaviourChange
from echoplaned.core.state import State
from echoplaned.core.step import StepInput, step
from echoplaned.testing import builders
from echoplaned.testing.effect_lines import show_effect

MIB = 1024 * 1024
LEADER = "leader-1"


@dataclass
class Transcript:
    """A state with a clock of its own, driven by lines of text.

    Attributes:
        state: what the lines so far have led to.
        now_s: seconds since the epoch, as far as this story knows.
        count: event lines that were played; the last one's number.
        given: version that a ``given`` line is preparing; empty: none.
    """

    state: State = field(default_factory=builders.empty_state)
    now_s: float = 0.0
    count: int = 0
    given: str = ""

    def prepare(self, line: str) -> None:
        """Bring a version where a ``given`` line says.

        Raises:
            ValueError: the core refuses something on the way, or there is no such state.
        """
        name, state, *options = shlex.split(line)
        if state not in _GIVEN:
            raise ValueError(f"{line!r}: a version is given as {', '.join(_GIVEN)}")
        model, _, version = name.partition("/")
        count, self.given = self.count, version
        for event in _GIVEN[state]:
            words = event.format(m=model, v=version, key=name, options=" ".join(options))
            refused = [told for told in self.play(words) if told.startswith("refused")]
            if refused:
                raise ValueError(f"given {line}: {words!r} was {refused[0]}")
        self.count, self.given = count, ""

    @property
    def label(self) -> str:
        """What the ids of the operation and of the rollout end with that an event starts."""
        return f"-{self.given}" if self.given else str(self.count)

    def play(self, line: str) -> list[str]:
        """Apply one event line; return the effects as lines, or the refusal."""
        verb, *rest = shlex.split(line)
        words = [word for word in rest if "=" not in word]
        options = dict(word.split("=", 1) for word in rest if "=" in word)
        self.count += 1
        if verb == "tick":
            self.now_s += float(words[0])
        event = _VERBS[verb](self, words, options)
        try:
            result = step(self.state, event)
        except DaemonError as error:
            return [f"refused {error.reason.value}: {error}"]
        before, self.state = self.state, result.state
        lines = [show_effect(effect) for effect in result.effects]
        if result.state.stale_event_count > before.stale_event_count:
            lines.append("stale")
        return lines or ["nothing"]

    def request(self, options: dict[str, str]) -> cmd.Request:
        """Return the request part of a command."""
        request_id = options.get("request_id", "")
        return cmd.Request(self.now_s, f"op{self.label}", request_id, options.get("body", "body"))

    def instance(self, word: str) -> tuple[InstanceKey, int]:
        """Read ``m/v#0`` (newest generation) or ``m/v#0.3``."""
        name, _, ordinal = word.partition("#")
        number, dot, generation = ordinal.partition(".")
        key = InstanceKey.parse(f"{name}#{number}")
        if dot:
            return key, int(generation)
        version = self.state.models[key.version.model].versions[key.version.version]
        current = next((i.generation for i in version.instances if i.key == key), 1)
        return key, current

    def rollout_id(self, model: str, options: dict[str, str]) -> str:
        """Return the rollout that is meant: the active one unless another is named."""
        found = self.state.models.get(model)
        active = found.rollout.rollout_id if found is not None and found.rollout is not None else "none"
        return options.get("rollout", active)


def _order(words: list[str], options: dict[str, str]) -> cmd.VersionOrder:
    return builders.order(
        words[0],
        words[1],
        replicas=int(options.get("replicas", "1")),
        digest=options.get("digest", ""),
        width=int(options.get("width", "384")),
        context_length=int(options.get("context", "512")),
    )


def _load(t: Transcript, words: list[str], options: dict[str, str]) -> StepInput:
    return cmd.LoadVersion(t.request(options), _order(words, options), aliases=_aliases(options))


def _update(t: Transcript, words: list[str], options: dict[str, str]) -> StepInput:
    stages = tuple(int(s) for s in options.get("stages", "50,100").split(","))
    change = BehaviourChange(options.get("behaviour", "UNSPECIFIED"))
    return cmd.UpdateModel(
        t.request(options),
        _order(words, options),
        f"r{t.label}",
        builders.policy(stages_percent=stages),
        change,
        options.get("etag", ""),
    )


def _delete(t: Transcript, words: list[str], options: dict[str, str]) -> StepInput:
    return cmd.DeleteModel(t.request(options), words[0], "force" in words)


def _unload(t: Transcript, words: list[str], options: dict[str, str]) -> StepInput:
    return cmd.DeleteVersion(t.request(options), words[0], words[1])


def _configure(t: Transcript, words: list[str], options: dict[str, str]) -> StepInput:
    labels = tuple(tuple(pair.split(":", 1)) for pair in options.get("labels", "").split(",") if pair)
    pins = tuple(
        (name, kind == "pin") for kind in ("pin", "unpin") for name in options.get(kind, "").split(",") if name
    )
    changed = tuple((k, v) for k, v in labels) if "labels" in options else None
    return cmd.ConfigureModel(t.request({}), words[0], changed, pins, options.get("etag", ""), _aliases(options))


def _aliases(options: dict[str, str]) -> tuple[str, ...] | None:
    """Read ``aliases=A,B``; None where nothing is said, none at all for ``aliases=``."""
    return tuple(filter(None, options["aliases"].split(","))) if "aliases" in options else None


def _rollout_command(kind: type[cmd.PauseRollout | cmd.ResumeRollout]) -> Callable[..., StepInput]:
    def make(t: Transcript, words: list[str], options: dict[str, str]) -> StepInput:
        return kind(t.request({}), words[0], t.rollout_id(words[0], options), options.get("why", ""))

    return make


def _with_reason(kind: type[cmd.AbortRollout | cmd.PromoteRollout]) -> Callable[..., StepInput]:
    def make(t: Transcript, words: list[str], options: dict[str, str]) -> StepInput:
        return kind(t.request({}), words[0], t.rollout_id(words[0], options), options.get("why", "by hand"))

    return make


def _cancel(t: Transcript, words: list[str], _options: dict[str, str]) -> StepInput:
    return cmd.CancelOperation(t.request({}), words[0])


def _delete_operation(t: Transcript, words: list[str], _options: dict[str, str]) -> StepInput:
    return cmd.DeleteOperation(t.request({}), words[0])


def _reserved(t: Transcript, words: list[str], options: dict[str, str]) -> StepInput:
    ledger = int(options.get("ledger", str(t.state.reservation_epoch)))
    return ev.InstancePlaced(t.now_s, t.instance(words[0])[0], _placement(words[1:]), ledger)


def _placement(words: list[str]) -> Placement:
    """Read ``cuda:0 128 cuda:1 128``: each device with its MiB."""
    pairs = zip(words[::2], words[1::2], strict=True)
    return Placement(LOCAL_NODE, tuple(DeviceShare(device_id, int(mib) * MIB) for device_id, mib in pairs))


def _refused(t: Transcript, words: list[str], options: dict[str, str]) -> StepInput:
    ledger = int(options.get("ledger", str(t.state.reservation_epoch)))
    failure = FailureDetail(Reason.MEMORY_INSUFFICIENT, "no device has room")
    return ev.PlacementRefused(t.now_s, t.instance(words[0])[0], failure, ledger)


def _delayed(t: Transcript, words: list[str], options: dict[str, str]) -> StepInput:
    ledger = int(options.get("ledger", str(t.state.reservation_epoch)))
    return ev.PlacementDelayed(
        t.now_s, t.instance(words[0])[0], " ".join(words[1:]) or "memory is not free yet", ledger
    )


def _sampled(t: Transcript, words: list[str], options: dict[str, str]) -> StepInput:
    """Read measured memory: ``host total=1000 free=400 own=100 by=trainer``.

    In MiB; ``by`` holds the rest; without ``own`` the device does not say whose its bytes are.
    """
    total, free = int(options["total"]) * MIB, int(options["free"]) * MIB
    own = int(options["own"]) * MIB if "own" in options else None
    holders = (MemoryHolder(options["by"], total - free - (own or 0)),) if "by" in options else ()
    return ev.DeviceMemoryMeasured(t.now_s, tuple(MeasuredMemory(word, total, free, own, holders) for word in words))


def _ready(t: Transcript, words: list[str], _options: dict[str, str]) -> StepInput:
    key, generation = t.instance(words[0])
    port = 5000 + 100 * len(key.version.version) + key.ordinal
    found = builders.endpoints(words[1] if len(words) > 1 else f"127.0.0.1:{port}")
    return eng.EngineReady(t.now_s, key, generation, found, LEADER)


def _noticed(kind: type[eng.EngineSilent | eng.EngineReporting]) -> Callable[..., StepInput]:
    def make(t: Transcript, words: list[str], _options: dict[str, str]) -> StepInput:
        return kind(t.now_s, *t.instance(words[0]))

    return make


def _engine_event(
    kind: type[eng.ProbesPassed | eng.ProbesFailed | eng.EngineLost | eng.EngineStuck],
) -> Callable[..., StepInput]:
    def make(t: Transcript, words: list[str], _options: dict[str, str]) -> StepInput:
        key, generation = t.instance(words[0])
        return kind(t.now_s, key, generation, " ".join(words[1:]) or "said so")

    return make


def _gave_up(t: Transcript, words: list[str], _options: dict[str, str]) -> StepInput:
    key, generation = t.instance(words[0])
    return eng.EngineGaveUp(t.now_s, key, generation, FailureDetail(Reason.ENGINE_START_FAILED, "cannot load"))


def _drained(t: Transcript, words: list[str], options: dict[str, str]) -> StepInput:
    key, generation = t.instance(words[0])
    return eng.EngineDrained(t.now_s, key, generation, int(options.get("cut", "0")))


def _stopped(t: Transcript, words: list[str], _options: dict[str, str]) -> StepInput:
    return eng.EngineStopped(t.now_s, *t.instance(words[0]))


def _measured(t: Transcript, words: list[str], _options: dict[str, str]) -> StepInput:
    return eng.MemoryMeasured(t.now_s, *t.instance(words[0]), int(words[1]) * MIB)


def _acked(t: Transcript, words: list[str], options: dict[str, str]) -> StepInput:
    routes = t.state.models[words[0]].routes
    epoch = int(options.get("epoch", str(routes.epoch if routes is not None else 0)))
    done, total = (int(n) for n in options.get("by", "1/1").split("/"))
    stale = tuple(name for name in options.get("stale", "").split(",") if name)
    return ev.RoutesProgressed(t.now_s, words[0], epoch, "not-yet" not in words, done, total, stale)


def _routes_refused(t: Transcript, words: list[str], options: dict[str, str]) -> StepInput:
    routes = t.state.models[words[0]].routes
    epoch = int(options.get("epoch", str(routes.epoch if routes is not None else 0)))
    return ev.RoutesRefused(t.now_s, words[0], epoch, "client-1", "bad cluster")


def _routes_held(t: Transcript, words: list[str], options: dict[str, str]) -> StepInput:
    routes = t.state.models[words[0]].routes
    epoch = int(options.get("epoch", str(routes.epoch if routes is not None else 0)))
    return ev.RoutesHeld(t.now_s, words[0], epoch, tuple(words[1:]), "bad cluster" if words[1:] else "")


def _judged(t: Transcript, words: list[str], options: dict[str, str]) -> StepInput:
    rollout = t.state.models[words[0]].rollout
    stage, window = (rollout.stage, rollout.evidence_window) if rollout is not None else (0, 0)
    verdict = Verdict("errors", GateVerdict(words[1]), options.get("why", "because"))
    window = int(options.get("window", str(window)))
    return ev.GatesJudged(t.now_s, words[0], t.rollout_id(words[0], options), stage, window, (verdict,))


def _adapter_failed(t: Transcript, words: list[str], _options: dict[str, str]) -> StepInput:
    """Read that the adapter raises for work of a kind, on an instance or the like."""
    kind, subject = words[0], words[1]
    implied = (e for m in t.state.models.values() for e in desired_effects(m, t.state.reservation_epoch, t.now_s))
    key = next((e.key for e in implied if (e.key[0], str(e.key[1])) == (kind, subject)), (kind, subject, 0))
    return ev.AdapterFailed(t.now_s, key, "adapter", "Bug: no")


def _tick(t: Transcript, _words: list[str], _options: dict[str, str]) -> StepInput:
    return ev.Tick(t.now_s)


def _recovered(t: Transcript, words: list[str], _options: dict[str, str]) -> StepInput:
    found = tuple(ev.FoundEngine(*t.instance(word), builders.endpoints("127.0.0.1:6000"), LEADER) for word in words)
    return ev.Recovered(t.now_s, found)


_VERBS: dict[str, Callable[[Transcript, list[str], dict[str, str]], StepInput]] = {
    "load": _load,
    "update": _update,
    "delete": _delete,
    "unload": _unload,
    "configure": _configure,
    "pause": _rollout_command(cmd.PauseRollout),
    "resume": _rollout_command(cmd.ResumeRollout),
    "abort": _with_reason(cmd.AbortRollout),
    "promote": _with_reason(cmd.PromoteRollout),
    "cancel": _cancel,
    "delete-operation": _delete_operation,
    "reserved": _reserved,
    "refused": _refused,
    "delayed": _delayed,
    "sampled": _sampled,
    "ready": _ready,
    "probes-passed": _engine_event(eng.ProbesPassed),
    "probes-failed": _engine_event(eng.ProbesFailed),
    "lost": _engine_event(eng.EngineLost),
    "stuck": _engine_event(eng.EngineStuck),
    "silent": _noticed(eng.EngineSilent),
    "reporting": _noticed(eng.EngineReporting),
    "gave-up": _gave_up,
    "drained": _drained,
    "stopped": _stopped,
    "measured": _measured,
    "acked": _acked,
    "routes-refused": _routes_refused,
    "routes-held": _routes_held,
    "judged": _judged,
    "adapter-failed": _adapter_failed,
    "tick": _tick,
    "recovered": _recovered,
}


_STARTED = ("reserved {key}#0 host 128", "ready {key}#0", "probes-passed {key}#0", "acked {m}")
_GIVEN: dict[str, tuple[str, ...]] = {
    "serving": ("load {m} {v} {options}", *_STARTED),
    "ready": ("load {m} {v} {options}", *_STARTED),
    # Acknowledged twice: the cluster at weight 1, then the weights of the first stage.
    "observed": ("update {m} {v} {options}", *_STARTED, "acked {m}"),
}
"""The events that bring a version into each state of a ``given`` line."""
