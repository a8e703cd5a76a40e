"""A response that a subscriber refused, as it is told to those who ask."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RecordedRefusal:
    """A response that a subscriber refused (a NACK), as often as it did so with the same words.

    ``resources``: names in the response that were new to the subscriber, at most ``MAX_REFUSED_RESOURCES``; ``models``: whose routes they
    hold. ``counted``: it speaks against the newest routes of a model and rolls back a rollout that brought them.
    """

    node: str
    type_url: str
    resources: tuple[str, ...]
    models: frozenset[str]
    detail: str
    counted: bool
    first_s: float
    last_s: float
    count: int = 1
