"""Opens the files of a checkpoint once for a load and compares them.

They are compared with the order, and read through links to what was opened.

A loader takes a directory and opens files in it by name, again and again. It gets a private directory whose names are links to open
descriptors: whatever is renamed, replaced or linked elsewhere meanwhile, it reads the files that were compared, and no other ones.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from echoplaned import _allocator
from echoplaned.core.facts import SourceContent, SourceFile
from echoplaned.worker_contract.inference.errors import LoadError, LoadSourceChangedError

_ANY_ROOT: Final = "/"
_MAX_FILES: Final = 10_000
_NS: Final = 1_000_000_000
_ADVICE: Final = "a version keeps its content: put the file back and load the version again, or load what is there now as another version"


class OrderedSource(Protocol):
    """The part of an order that says what is to be read."""

    @property
    def source_path(self) -> Path:
        """The checkpoint."""
        ...

    @property
    def digest(self) -> str:
        """Of the content that is meant; empty: whatever is there."""
        ...

    @property
    def content(self) -> SourceContent | None:
        """The files that hold the content, as they were when it was ordered.

        None: they are not named.
        """
        ...


class InodeId(NamedTuple):
    """What tells a file from all others of this machine.

    Attributes:
        device: number of its file system, as fstat(2) has it.
        inode: number within that.
    """

    device: int
    inode: int


@dataclass(frozen=True, slots=True)
class _Opened:
    """An open file, and what it was when it was opened."""

    descriptor: int
    device: int
    file: SourceFile

    def look(self) -> SourceFile:
        """Return what it is now."""
        return _identify(self.file.name, self.file.path, self.descriptor)


class Content:
    """A checkpoint whose files are open.

    ``directory``: where a loader finds them by their names.
    """

    def __init__(self, directory: Path, opened: tuple[_Opened, ...]) -> None:
        self.directory = directory
        self._opened = opened

    @property
    def files(self) -> tuple[SourceFile, ...]:
        """The files as they were when they were opened."""
        return tuple(one.file for one in self._opened)

    @property
    def descriptors(self) -> dict[InodeId, int]:
        """The open files, by what the kernel knows them by."""
        return {InodeId(one.device, one.file.inode): one.descriptor for one in self._opened}

    def check_unchanged(self) -> None:
        """Compare every file with what it was when it was opened.

        To be called when all of it has been read.

        Raises:
            LoadSourceChangedError: one was written meanwhile, so nobody knows what was read.
        """
        for one in self._opened:
            now = one.look()
            if now != one.file:
                raise LoadSourceChangedError(f"{one.file.name} was written while it was read; {_ADVICE}")


@contextmanager
def open_content(options: OrderedSource, links_dir: Path | None = None) -> Iterator[Content]:
    """Open the files of an order and make sure that they hold what was ordered.

    ``links_dir``: where links to the open files are while they are read, by this process or another one; None: in a new directory.

    Raises:
        LoadSourceChangedError: they do not, or one of them has gone.
        LoadError: a file cannot be opened.
    """
    ordered = _named_files(options)
    opened: list[_Opened] = []
    directory = _private_directory(links_dir)
    try:
        for file in ordered.files:
            opened.append(_open(ordered.root, file, is_ordered=bool(options.digest)))
            link = directory / file.name
            link.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            link.symlink_to(f"/proc/{os.getpid()}/fd/{opened[-1].descriptor}")
        content = Content(directory, tuple(opened))
        if options.digest:
            _check_ordered(options, content)
        yield content
    finally:
        shutil.rmtree(directory, ignore_errors=True)
        for one in opened:
            os.close(one.descriptor)


def _named_files(options: OrderedSource) -> SourceContent:
    """Return the files that an order names, or those that it means.

    For an order of an earlier release those that an engine reads; else all that are there.
    """
    if options.content is not None:
        return options.content
    source = options.source_path
    if not options.digest:
        return SourceContent(_ANY_ROOT, tuple(_list_files(source)))
    try:
        contents = _allocator.inspect(source).contents
    except _allocator.AllocatorError as error:
        raise LoadSourceChangedError(f"the checkpoint is not what was ordered: {error}; {_ADVICE}") from error
    return SourceContent(_ANY_ROOT, tuple(SourceFile(*one) for one in contents))


def _list_files(source: Path) -> Iterator[SourceFile]:
    """Yield the regular files of a directory.

    Links are followed, as nobody ordered anything in particular.
    """
    for count, path in enumerate(sorted(source.rglob("*"))):
        if count >= _MAX_FILES:
            raise LoadError(f"the checkpoint holds more than {_MAX_FILES} files")
        if path.is_file():
            resolved = str(path.resolve().relative_to(_ANY_ROOT))
            yield SourceFile(str(path.relative_to(source)), resolved, 0, 0, 0)


def _open(root: str, file: SourceFile, *, is_ordered: bool) -> _Opened:
    """Open a file beneath a root.

    Raises:
        LoadSourceChangedError: what was ordered is not there any more, or a link leads out of the root.
        LoadError: it cannot be opened.
    """
    try:
        descriptor = _allocator.open_beneath(root, file.path)
    except OSError as error:
        message = f"{file.name} cannot be opened as it was: {error.strerror or error}"
        if is_ordered and not isinstance(error, PermissionError):
            raise LoadSourceChangedError(f"{message}; {_ADVICE}") from error
        raise LoadError(message) from error
    return _Opened(descriptor, os.fstat(descriptor).st_dev, _identify(file.name, file.path, descriptor))


def _identify(name: str, path: str, descriptor: int) -> SourceFile:
    found = os.fstat(descriptor)
    return SourceFile(name, path, found.st_size, found.st_ino, found.st_ctime_ns)


def _check_ordered(options: OrderedSource, content: Content) -> None:
    """Compare the opened files with those that were ordered.

    By identity, and by the digest of the content where one file's identity is another one.

    Raises:
        LoadSourceChangedError: the content is not the one that was ordered.
    """
    differing: list[tuple[SourceFile | None, SourceFile]] = [(None, one) for one in content.files]
    if options.content is not None:
        pairs = zip(options.content.files, content.files, strict=True)
        differing = [(ordered, found) for ordered, found in pairs if ordered != found]
    if not differing:
        return
    try:
        digest = f"blake3:{_allocator.digest(content.directory, [one.name for one in content.files])}"
    except _allocator.AllocatorError as error:
        raise LoadError(str(error)) from error
    if digest == options.digest:
        return
    told = "; ".join(_difference(ordered, found) for ordered, found in differing[:3] if ordered is not None)
    what = told or f"its digest is {digest}, and {options.digest} was ordered"
    raise LoadSourceChangedError(f"the checkpoint is not what was ordered: {what}; {_ADVICE}")


def _difference(ordered: SourceFile, found: SourceFile) -> str:
    return f"{found.name} was {_told(ordered)} and is {_told(found)}"


def _told(file: SourceFile) -> str:
    time = datetime.fromtimestamp(file.change_time_ns / _NS, UTC).isoformat(timespec="milliseconds")
    return f"{file.size_bytes} bytes, inode {file.inode}, changed {time}"


def _private_directory(links_dir: Path | None) -> Path:
    """Make an empty directory that nobody else can enter."""
    if links_dir is None:
        return Path(tempfile.mkdtemp(prefix="echoplane-source-"))
    shutil.rmtree(links_dir, ignore_errors=True)
    links_dir.mkdir(mode=0o700)
    return links_dir
