"""A model's aliases: further names, in the form in which people write them.

No two models share an alias, and none is the id of another model.
"""

from __future__ import annotations

from collections.abc import Mapping

from echoplaned.core.errors import AliasExistsError
from echoplaned.core.names import model_name
from echoplaned.core.replacing import replace
from echoplaned.core.state import Model, State


def with_aliases(state: State, model: Model, aliases: tuple[str, ...] | None) -> Model:
    """Return the model with these aliases; None: with those that it has.

    Raises:
        AliasExistsError: another model has one of them, or it is a model's id.
    """
    if aliases is None:
        return model
    owners = _owners(state.models, model.model_id)
    for alias in aliases:
        if alias in owners:
            owner = model_name(owners[alias])
            text = f"the name {alias!r} is taken by {owner}: leave it out, or take it from there first"
            raise AliasExistsError(owner, text, f"the name {alias!r} is taken: leave it out")
    return replace(model, aliases=aliases)


def refuse_aliased_id(state: State, model_id: str) -> None:
    """Refuse the id of a new model where it is an alias already.

    Raises:
        AliasExistsError: another model has it as its alias.
    """
    for other in state.models.values():
        if model_id in other.aliases:
            owner = model_name(other.model_id)
            text = f"the name {model_id!r} is an alias of {owner}: take another id, or remove the alias there first"
            raise AliasExistsError(owner, text, f"the name {model_id!r} is taken: take another id")


def _owners(models: Mapping[str, Model], model_id: str) -> dict[str, str]:
    """Return the model id that each name belongs to, without this model's aliases.

    Names are every id, this model's own among them, and the aliases of the other models.
    """
    taken = {name: name for name in (*models, model_id)}
    for other in models.values():
        if other.model_id != model_id:
            taken |= dict.fromkeys(other.aliases, other.model_id)
    return taken
