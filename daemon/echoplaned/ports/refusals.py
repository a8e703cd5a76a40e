"""A response that a subscriber refused, as callers may see it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RecordedRefusal:
    """An xDS response that a subscriber refused (a NACK).

    It stands for all refusals of the subscriber with the same words.

    Attributes:
        node: the subscriber's id, which is free text and proves nothing.
        type_url: type of the response's resources.
        resources: names in the response that were new to the subscriber, at most ``MAX_REFUSED_RESOURCES``, sorted.
        models: models whose routes those resources hold.
        detail: the subscriber's own words.
        counted: whether it speaks against the newest routes of a model, and rolls back a rollout that brought them.
        first_s: when it was refused first, seconds since the epoch.
        last_s: when it was refused last, seconds since the epoch.
        count: how often it was refused, at least 1.
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
