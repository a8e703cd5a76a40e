"""The state while one step works on it.

Small, typed setters over the frozen tree, and what the step wants to announce.
"""

from __future__ import annotations

from types import MappingProxyType

from echoplaned.core.effects import Announce, Effect
from echoplaned.core.ids import InstanceKey, VersionKey
from echoplaned.core.names import rollout_name
from echoplaned.core.replacing import replace
from echoplaned.core.rollout_state import HISTORY_RETAINED, EntryKind, Rollout, RolloutEntry, Verdict
from echoplaned.core.state import Instance, Model, Operation, State, Version


class Transaction:
    """A state under change.

    It lives for one step and never leaves it; the frozen result does.
    """

    def __init__(self, state: State, now_s: float) -> None:
        self.state = state
        self.now_s = now_s
        self.announces: list[Announce] = []
        self.extra_effects: list[Effect] = []
        self.touched: set[str] = set()

    def model(self, model_id: str) -> Model:
        """Return a model that is known to exist."""
        return self.state.models[model_id]

    def version(self, key: VersionKey) -> Version:
        """Return a version that is known to exist."""
        return self.state.models[key.model].versions[key.version]

    def put_model(self, model: Model) -> None:
        """Add or replace a model."""
        models = {**self.state.models, model.model_id: model}
        self.state = replace(self.state, models=MappingProxyType(models))
        self.touched.add(model.model_id)

    def drop_model(self, model_id: str) -> None:
        """Forget a model."""
        models = {name: model for name, model in self.state.models.items() if name != model_id}
        self.state = replace(self.state, models=MappingProxyType(models))

    def put_version(self, version: Version) -> None:
        """Add or replace a version of a model that exists."""
        model = self.model(version.key.model)
        versions = {**model.versions, version.key.version: version}
        self.put_model(replace(model, versions=MappingProxyType(versions)))

    def drop_version(self, key: VersionKey) -> None:
        """Forget a version."""
        model = self.model(key.model)
        versions = {name: version for name, version in model.versions.items() if name != key.version}
        self.put_model(replace(model, versions=MappingProxyType(versions)))

    def put_instance(self, instance: Instance) -> None:
        """Add or replace an instance of a version that exists."""
        version = self.version(instance.key.version)
        if any(i.key == instance.key for i in version.instances):
            instances = tuple(instance if i.key == instance.key else i for i in version.instances)
        else:
            instances = (*version.instances, instance)
        self.put_version(replace(version, instances=instances))

    def drop_instance(self, key: InstanceKey) -> None:
        """Forget an instance that is GONE; what it held is free again."""
        version = self.version(key.version)
        gone = next(i for i in version.instances if i.key == key)
        self.put_version(replace(version, instances=tuple(i for i in version.instances if i.key != key)))
        if gone.placement is not None:
            self.state = replace(self.state, released_s=self.now_s)
            self.bump_reservations()

    def bump_reservations(self) -> None:
        """Note that a reservation changed."""
        self.state = replace(self.state, reservation_epoch=self.state.reservation_epoch + 1)

    def put_rollout(self, rollout: Rollout) -> None:
        """Replace the model's active rollout."""
        self.put_model(replace(self.model(rollout.model), rollout=rollout))

    def put_operation(self, operation: Operation) -> None:
        """Add or replace an operation."""
        operations = {**self.state.operations, operation.operation_id: operation}
        self.state = replace(self.state, operations=MappingProxyType(operations))

    def drop_operation(self, operation_id: str) -> None:
        """Forget an operation."""
        operations = {name: known for name, known in self.state.operations.items() if name != operation_id}
        self.state = replace(self.state, operations=MappingProxyType(operations))

    def announce(self, subject: str, kind: str, text: str) -> None:
        """Announce something to watchers, metrics and the log."""
        sequence = self.state.announce_sequence + 1
        self.state = replace(self.state, announce_sequence=sequence)
        self.announces.append(Announce(sequence, self.now_s, subject, kind, text))

    def note(
        self, rollout: Rollout, text: str, verdicts: tuple[Verdict, ...] = (), kind: EntryKind = EntryKind.MOVED
    ) -> Rollout:
        """Append a line to a rollout's history and announce it.

        The oldest line beyond the newest 1,000 is forgotten.

        Returns:
            The rollout, stored as well.
        """
        sequence = rollout.history[-1].sequence + 1 if rollout.history else 1
        entry = RolloutEntry(sequence, self.now_s, rollout.phase, rollout.stage, text, verdicts, kind)
        noted = replace(rollout, history=(*rollout.history, entry)[-HISTORY_RETAINED:])
        self.put_rollout(noted)
        subject = rollout_name(rollout.model, rollout.rollout_id)
        self.announce(subject, f"rollout.{rollout.phase.lower()}", text)
        return noted

    def count_stale(self) -> None:
        """Count an event that came too late or twice."""
        self.state = replace(self.state, stale_event_count=self.state.stale_event_count + 1)
