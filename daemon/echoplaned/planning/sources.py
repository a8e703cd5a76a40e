"""Where a caller's checkpoint may come from.

A directory, or a GGUF file, beneath an allowed root, and nothing else.

What is checked holds for the moment of the check: whoever can write beneath a root could exchange a file afterwards. The roots are
the operator's, and so is the decision who writes there.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from echoplaned.core.errors import (
    FieldInvalidError,
    SourceCorruptError,
    SourceNotAllowedError,
    SourceNotFoundError,
)
from echoplaned.core.failure import InvalidField

FIELD = "source_uri"
MAX_LENGTH = 4096
MAX_ENTRIES = 10_000
"""Files and directories of one checkpoint. A real one has a few dozen."""

_GGUF = ".gguf"
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(.*)", re.DOTALL)
# Letters and digits of any script, and what file names are made of besides. No percent sign: nothing is decoded, so nothing hides.
_PATH = re.compile(r"[\w ./@+=,~()-]+")


def resolve_source(uri: str, roots: Sequence[Path]) -> Path:
    """Return the directory, or the GGUF file, that a source names.

    It lies beneath one of ``roots``, and so does what it leads to. It is free of links, but for the last name of a file.
    ``file:///absolute``, ``file:relative`` (to the first root that has it) and plain absolute paths are understood. Errors repeat
    what the caller wrote and say nothing of what lies outside the roots, not even whether it is there. Blocks.

    Raises:
        FieldInvalidError: the text is no such source.
        SourceNotAllowedError: it has another scheme, contains ``..``, or leads (by itself, or by a link in it) out of the roots.
        SourceNotFoundError: there is no such directory beneath the roots.
        SourceCorruptError: it cannot be read, or it holds more than files.
    """
    path = _path_of(uri)
    if not roots:
        raise _not_allowed("no source is allowed: the daemon was started without --model-root")
    allowed = [Path(os.path.realpath(root)) for root in roots]
    directory = _find(path, allowed)
    for name, target in _entries(directory, path) if directory.is_dir() else ():
        if not _beneath(target, allowed):
            raise _not_allowed(f"{name!r:.200} in {str(path)!r} is a link that leads out of the allowed roots")
    return directory


def _path_of(uri: str) -> PurePosixPath:
    """Take the text apart, without a look at the file system."""
    if len(uri) > MAX_LENGTH:
        raise _invalid(f"is longer than {MAX_LENGTH} characters")
    scheme = _SCHEME.fullmatch(uri)
    if scheme is not None and scheme[1].lower() != "file":
        raise _not_allowed(f"scheme {scheme[1]!r:.40} is not allowed: only file: is")
    text = uri if scheme is None else _without_host(scheme[2])
    if not _PATH.fullmatch(text):
        raise _invalid(
            "has characters that no source may have, or is empty: letters, digits, spaces and . / _ @ + = , ~ ( ) - may be used"
        )
    path = PurePosixPath(text)
    if ".." in path.parts:
        raise _not_allowed("'..' is not allowed in a source")
    if scheme is None and not path.is_absolute():
        raise _invalid("is a relative path: write file:PATH for one beneath an allowed root, or an absolute path")
    # Two leading slashes are something of their own in POSIX; here they are one.
    return PurePosixPath("/" + text.lstrip("/")) if path.is_absolute() else path


def _without_host(rest: str) -> str:
    """Return the path of a file URI without its authority.

    RFC 8089 allows an authority, which must be empty here.
    """
    if not rest.startswith("//"):
        return rest
    if not rest.startswith("///"):
        raise _invalid("names a host: write file:///absolute/path, or file:path for one beneath an allowed root")
    return rest.removeprefix("//")


def _find(path: PurePosixPath, allowed: Sequence[Path]) -> Path:
    outside = False
    for candidate in [Path(path)] if path.is_absolute() else [root / path for root in allowed]:
        found = Path(os.path.realpath(candidate))
        if not _beneath(found, allowed):
            outside = True
        elif _exists(found):
            if found.is_dir():
                return found
            named = _name_file(candidate, found, allowed, path)
            if _beneath(named, allowed):
                return named
            outside = True
    if outside:
        raise _not_allowed(f"{str(path)!r} is not beneath an allowed root")
    raise SourceNotFoundError(
        f"{str(path)!r} does not exist", subject=FIELD, accepted="a directory beneath an allowed root"
    )


def _exists(found: Path) -> bool:
    try:
        found.stat()
    except OSError:
        return False
    return True


def _name_file(candidate: Path, found: Path, allowed: Sequence[Path], path: PurePosixPath) -> Path:
    """Return the path of a GGUF file by the name that was asked for.

    The folder that it lies in is free of links. A hub's cache names a file by a link, to one without a suffix and without the other
    parts beside it. The link is followed anew by whoever opens the file, beneath a root. By the name of what a link leads to where
    the link's own has no suffix, or lies in another root than that.

    Raises:
        SourceCorruptError: it is no GGUF file by either name, or no regular file.
    """
    named = Path(os.path.realpath(candidate.parent), candidate.name)
    in_one_root = any(named.is_relative_to(root) and found.is_relative_to(root) for root in allowed)
    names = [one for one in (named, found) if one.suffix.lower() == _GGUF]
    if not names or not found.is_file():
        raise SourceCorruptError(
            f"{str(path)!r} is not a directory, and no GGUF file",
            subject=FIELD,
            accepted="a checkpoint's directory, or a GGUF file",
        )
    return names[0] if in_one_root else names[-1]


def _entries(directory: Path, path: PurePosixPath) -> Iterator[tuple[str, Path]]:
    """Yield what a checkpoint holds, with links followed.

    Each has its name in its directory, and the path of what it is when links are followed.
    """
    seen = {directory}
    waiting = [directory]
    count = 0
    while waiting:
        try:
            held = sorted(waiting.pop().iterdir())
            for entry in held:
                count += 1
                if count > MAX_ENTRIES:
                    raise SourceCorruptError(f"{str(path)!r} holds more than {MAX_ENTRIES} files", subject=FIELD)
                target = Path(os.path.realpath(entry))
                yield entry.name, target
                if _is_folder(target, entry.name, path) and target not in seen:
                    seen.add(target)
                    waiting.append(target)
        except OSError as error:
            raise _unreadable(path, error) from error


def _is_folder(target: Path, name: str, path: PurePosixPath) -> bool:
    """Return whether an entry is a folder to look into.

    What is neither file nor directory (a pipe blocks its reader) is refused.
    """
    if target.is_dir():
        return True
    if target.exists() and not target.is_file():
        raise SourceCorruptError(f"{name!r:.200} in {str(path)!r} is neither a file nor a directory", subject=FIELD)
    return False


def _beneath(path: Path, allowed: Sequence[Path]) -> bool:
    return any(path.is_relative_to(root) for root in allowed)


def _unreadable(path: PurePosixPath, error: OSError) -> SourceCorruptError:
    return SourceCorruptError(
        f"{str(path)!r} cannot be read: {error.strerror}",
        subject=FIELD,
        accepted="a directory that the daemon can read",
    )


def _invalid(description: str) -> FieldInvalidError:
    return FieldInvalidError(InvalidField(FIELD, description))


def _not_allowed(message: str) -> SourceNotAllowedError:
    return SourceNotAllowedError(message, subject=FIELD, accepted="a directory beneath an allowed root (--model-root)")
