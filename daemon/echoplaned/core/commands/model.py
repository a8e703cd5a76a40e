"""Commands on a model: configure it, delete it."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

from echoplaned.core.aliases import with_aliases
from echoplaned.core.commands.checks import (
    check_etag,
    refuse_deleting,
    require_model,
    require_version,
    rollout_active_error,
    with_labels,
)
from echoplaned.core.commands.request import Request, begin_operation, is_repeat, join_operation
from echoplaned.core.failure import FailureDetail, Reason
from echoplaned.core.names import model_name
from echoplaned.core.replacing import replace
from echoplaned.core.rollouts import fire
from echoplaned.core.spec import Tier
from echoplaned.core.state import OperationKind
from echoplaned.core.tables import RolloutSignal
from echoplaned.core.transaction import Transaction


@dataclass(frozen=True, slots=True)
class ConfigureModel:
    """Change what callers set on a model; None leaves a field as it is.

    Attributes:
        request: who asks, and when.
        model: id of the model.
        labels: pairs of name and value that replace all labels; None: as they are.
        pins: versions to pin (true) or to unpin; the others stay, so that of two changes at once neither undoes the other.
        etag: the etag that the caller saw, which must still hold; empty: not checked.
        aliases: names that replace all aliases, unique over all ids and aliases; None: as they are.
    """

    request: Request
    model: str
    labels: tuple[tuple[str, str], ...] | None = None
    pins: tuple[tuple[str, bool], ...] = ()
    etag: str = ""
    aliases: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class DeleteModel:
    """Drain everything of a model and forget it.

    Attributes:
        request: who asks, when, and by which ids.
        model: id of the model.
        force: whether a rollout under way is ended by it; else the command is refused during one.
        etag: the etag that the caller saw, which must still hold; empty: not checked.
    """

    request: Request
    model: str
    force: bool = False
    etag: str = ""


def on_configure(transaction: Transaction, command: ConfigureModel) -> None:
    """Change labels, aliases and pins; no rollout."""
    model = require_model(transaction, command.model)
    check_etag(model, command.etag)
    refuse_deleting(model)
    versions = dict(model.versions)
    for name, pinned in command.pins:
        versions[name] = replace(require_version(model, name), pinned=pinned)
    model = with_aliases(transaction.state, model, command.aliases)
    model = replace(
        with_labels(model, command.labels), versions=MappingProxyType(versions), update_time_s=transaction.now_s
    )
    transaction.put_model(model)


def on_delete_model(transaction: Transaction, command: DeleteModel) -> None:
    """Drain everything of a model, then forget it."""
    if is_repeat(transaction, command.request):
        return
    model = require_model(transaction, command.model)
    check_etag(model, command.etag)
    if model.deleting:
        join_operation(transaction, command.request, model.deleting)
        return
    if model.rollout is not None and not command.force:
        raise rollout_active_error(model.rollout)
    operation = begin_operation(transaction, command.request, OperationKind.DELETE_MODEL, command.model, "")
    transaction.put_operation(operation)
    if model.rollout is not None:
        fire(
            transaction, model.rollout, RolloutSignal.DELETE, FailureDetail(Reason.ROLLED_BACK, "the model was deleted")
        )
        model = transaction.model(command.model)
    versions = {
        name: replace(version, desired_tier=Tier.COLD, delete_when_stopped=True)
        for name, version in model.versions.items()
    }
    transaction.put_model(replace(model, deleting=operation.operation_id, versions=MappingProxyType(versions)))
    transaction.announce(model_name(command.model), "model.deleting", f"model {command.model} is drained and deleted")
