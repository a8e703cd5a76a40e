"""Identities of versions, of instances and of those who give commands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

LOCAL_PRINCIPAL: Final = "local"
"""Who gives a command as long as callers have no identity."""


@dataclass(frozen=True, slots=True, order=True)
class VersionKey:
    """One version of one model; written ``model/version``.

    Attributes:
        model: id of the model.
        version: id of the version, unique within the model.
    """

    model: str
    version: str

    def __str__(self) -> str:
        return f"{self.model}/{self.version}"


@dataclass(frozen=True, slots=True, order=True)
class InstanceKey:
    """One replica of a version; written ``model/version#ordinal``.

    Attributes:
        version: the version that it is a replica of.
        ordinal: its number within the version, from 0; never used again.
    """

    version: VersionKey
    ordinal: int

    def __str__(self) -> str:
        return f"{self.version}#{self.ordinal}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what ``str`` wrote.

        Raises:
            ValueError: the text is not an instance's name.
        """
        version, hash_sign, ordinal = text.rpartition("#")
        model, slash, version_id = version.partition("/")
        if not (hash_sign and slash and model and version_id):
            raise ValueError(f"not an instance name: {text!r}")
        return cls(VersionKey(model, version_id), int(ordinal))
