"""Paths in settings: what a person wrote, and the place that it means."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeVar

Given = TypeVar("Given")


def refuse_empty(value: Given) -> Given:
    """Return what was given, one path or several, unless one says nothing.

    To pathlib an empty path is the working directory; who writes one had a variable in it that is not set.

    Raises:
        ValueError: one is empty.
    """
    given = value if isinstance(value, list | tuple) else (value,)
    if any(isinstance(each, str) and not each.strip() for each in given):
        raise ValueError("is empty: name a directory, or leave it out")
    return value


def absolute(path: Path) -> Path:
    """Return the place that a path means now, with its links: one may be moved later.

    Raises:
        ValueError: it is no path, or is beneath a home that nobody has.
    """
    if "\0" in str(path):
        raise ValueError("is not a path")
    found = expanded(path)
    if str(found).startswith("~"):
        raise ValueError(f"is {str(path)!r}, and there is no such home directory: name an absolute path")
    return Path(os.path.abspath(found))  # noqa: PTH100 - not resolve(): links stay


def expanded(path: Path) -> Path:
    """Return a path with its home directory filled in, where there is one."""
    try:
        return path.expanduser()
    except RuntimeError:  # no home directory
        return path


def home_directory() -> Path | None:
    """Return the user's home directory; None: there is none.

    A user id of a container may be named by nothing.
    """
    try:
        return Path.home()
    except RuntimeError:
        return None


def root_problem(root: Path) -> str:
    """Say why a directory cannot be a root; empty if it can."""
    try:
        resolved = root.resolve(strict=True)
    except PermissionError:
        return "cannot be read"
    except (OSError, RuntimeError, ValueError):  # RuntimeError: links in a circle
        return "does not exist"
    if not resolved.is_dir():
        return "is not a directory"
    if not os.access(resolved, os.R_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids):
        return "cannot be read"
    return ""
