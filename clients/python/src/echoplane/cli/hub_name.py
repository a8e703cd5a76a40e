"""Id, aliases and sources of a load by a model's common name, as ``ORG/NAME``.

The id is what the model is called here; the sources are where its checkpoint may be beneath a root.
"""

from __future__ import annotations

from dataclasses import dataclass

import typer

from echoplane import names
from echoplane.cli.values import source_uri

_PATHS = ("/", ".", "~", "file:")


@dataclass(frozen=True, slots=True)
class HubName:
    """What a name alone says of a load.

    Attributes:
        model_id: proposed id.
        source_uris: where the checkpoint may be, in the order in which they are tried.
        aliases: the name itself, where it is not the id.
    """

    model_id: str
    source_uris: tuple[str, ...]
    aliases: tuple[str, ...]


def read_hub_name(text: str) -> HubName:
    """Return the id, sources and aliases that a model's name or path stands for.

    The text is ``ORG/NAME``, the name of a directory beneath a root, or a path.

    Raises:
        typer.BadParameter: no id can be made of it.
    """
    model_id = propose_id(text)
    if text.startswith(_PATHS):
        return HubName(model_id, (source_uri(text),), ())
    hub = f"models--{text.replace('/', '--')}"
    return HubName(model_id, (f"file:{text}", f"file:{hub}"), () if text == model_id else (text,))


def propose_id(text: str) -> str:
    """Return a model id for a name or path.

    It is the last part in lower case, with ``-`` for other characters than letters and digits.

    Raises:
        typer.BadParameter: nothing is left of it.
    """
    found = names.propose_id(text)
    if not found:
        raise typer.BadParameter(
            f"{text!r} makes no model id: say MODEL and SOURCE, for example `echoplane load chat {text}`",
            param_hint="MODEL",
        )
    return found
