"""GGUF files as the sources of versions: who reads them, which files one is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final

from echoplaned.core.errors import SourceUnsupportedError
from echoplaned.core.facts import SourceContent, SourceFile
from echoplaned.engine_kinds import DEFAULT_KIND, find_kind
from echoplaned.planning.inspection import Checkpoint, digest_facts, survey_model
from echoplaned.ports.stop import Stop

SUFFIX: Final = ".gguf"

_ANY_ROOT: Final = Path("/")
_PROJECTOR: Final = "mmproj"


def is_gguf(path: Path) -> bool:
    """Whether a source is a GGUF file by its name."""
    return path.suffix.lower() == SUFFIX


def check_format(path: Path, engine: str, root: Path = _ANY_ROOT) -> bool:
    """Check that an engine reads a source's format; return whether that is GGUF.

    ``root``: what a caller's path is relative to, free of links.

    Raises:
        SourceUnsupportedError: it does not.
    """
    kind = find_kind(engine) or DEFAULT_KIND
    if not path.is_dir():
        if "gguf" not in kind.formats:
            takes = " and ".join(sorted(kind.formats))
            raise SourceUnsupportedError(
                f"GGUF: the engine {kind.name} reads {takes} (`--engine llama_cpp` reads GGUF)",
                subject="general.architecture",
                accepted=takes,
            )
        return True
    if "safetensors" not in kind.formats:
        raise SourceUnsupportedError(
            f"config.json: the engine {kind.name} reads GGUF: give the file itself, file:{_advised(path, root)}",
            subject="source_uri",
            accepted="a GGUF file beneath an allowed root",
        )
    return False


def _advised(directory: Path, root: Path) -> str:
    """Return a GGUF file of a directory as a caller names it.

    The first one that is a model, or the first part of one.
    """
    names = sorted(entry.name for entry in directory.iterdir() if is_gguf(entry))
    models = [name for name in names if _PROJECTOR not in name.lower() and name.isprintable()]
    return (directory.relative_to(root) / (models[0] if models else f"NAME{SUFFIX}")).as_posix()


def inspect_gguf(path: Path, *, allowed_root: Path | None = None, with_digest: bool = True) -> Checkpoint:
    """Read what a GGUF file says, with its parts where it is split.

    Without the digest its header alone is read.

    Raises:
        DaemonError: as `echoplaned.planning.survey_model` and `digest_facts` say.
    """
    checkpoint = survey_model(path, allowed_root=allowed_root)
    root = (allowed_root or _ANY_ROOT).resolve()
    # Each as it was when its header was read, of the same descriptor: the path may lead to another file by now.
    content = SourceContent(str(root), tuple(SourceFile(*one) for one in checkpoint.native.contents))
    facts = replace(checkpoint.facts, content=content)
    return replace(checkpoint, facts=digest_facts(facts, Stop()) if with_digest else facts)
