"""A version that a caller orders, and how the state comes to want it."""

from __future__ import annotations

from dataclasses import dataclass

from echoplaned.core.facts import ModelFacts
from echoplaned.core.ids import VersionKey
from echoplaned.core.plan import Plan
from echoplaned.core.queries import version_state
from echoplaned.core.replacing import replace
from echoplaned.core.spec import Tier, VersionSpec
from echoplaned.core.state import CacheCounts, Version, VersionState
from echoplaned.core.transaction import Transaction


@dataclass(frozen=True, slots=True)
class VersionOrder:
    """A version that a caller wants: what it is, and a plan that says it fits.

    Attributes:
        model: id of the model.
        version: id of the version.
        spec: what makes its engine what it is.
        facts: what its files say.
        plan: the plan that it was admitted with.
        tier: where it is to be kept.
        pinned: whether it is never evicted to make room.
    """

    model: str
    version: str
    spec: VersionSpec
    facts: ModelFacts
    plan: Plan
    tier: Tier = Tier.HOT
    pinned: bool = False


def request_version(transaction: Transaction, order: VersionOrder) -> None:
    """Add a version, or want a known one again; a READY one is a cache hit."""
    key = VersionKey(order.model, order.version)
    known = transaction.model(order.model).versions.get(order.version)
    if known is None:
        transaction.put_version(
            Version(
                key,
                order.spec,
                order.facts,
                order.plan,
                requested_tier=order.tier,
                desired_tier=order.tier,
                pinned=order.pinned,
                cache=CacheCounts(misses=1),
                create_time_s=transaction.now_s,
                load_started_s=transaction.now_s,
            )
        )
        return
    known = pin_as_ordered(transaction, order)
    hit = version_state(known) in {VersionState.READY, VersionState.DRAINING}
    counted = count_cache(transaction, known, hit=hit)
    # The same content, maybe in files that were restored or copied since: these are the ones that were just read.
    known = replace(counted, facts=order.facts, requested_tier=order.tier, desired_tier=order.tier, failure=None)
    if not known.instances:
        known = replace(known, plan=order.plan, load_started_s=transaction.now_s, load_duration_s=None)
    transaction.put_version(known)


def pin_as_ordered(transaction: Transaction, order: VersionOrder) -> Version:
    """Pin a known version where an order says so.

    An order that says nothing cannot be told from one that says no: it takes no pin away.

    Returns:
        The version, stored as well.
    """
    known = transaction.model(order.model).versions[order.version]
    pinned = replace(known, pinned=known.pinned or order.pinned)
    transaction.put_version(pinned)
    return pinned


def count_cache(transaction: Transaction, version: Version, *, hit: bool) -> Version:
    """Count that an order found a version there, or did not.

    Returns:
        The version, stored as well.
    """
    cache = version.cache
    counted = replace(cache, misses=cache.misses + 1)
    if hit:
        counted = replace(cache, hits=cache.hits + 1, last_hit_tier=Tier.HOT)
    changed = replace(version, cache=counted)
    transaction.put_version(changed)
    return changed
