"""Evidence for a version that fails only for some of the clients.

It is gathered client by client: some may not reach the version, or have errors that nobody else has.

In the sum over all clients, one of twenty that gets no answer from the new version looks like a version with few errors, or like no
errors at all: a gRPC client does not report a request that found no connection. So each client's own load reports are judged by the
same two tests as the sum: its errors by the concurrent comparison (``error_eprocess``), and its silence at the new version
(``silence``), each with a part of the chance of a false alarm. The client with number k, in the order in which they were admitted, has
``1 / (k (k + 1))`` of it, which adds up to the whole however many come and go.

A silence also has to be longer than what nobody has reported yet: so many requests of others a client could claim as its own, and be
found out only by and by.

Silence counts only for clients whose traffic the routes alone steer: one that also dials a version by its own target has requests
that never had a choice. What a client reports first after it came belongs to times and weights that nobody knows, and is left out.

Memory is bounded: at most ``MAX_CLIENTS`` at once, those that came first and still report; the others are judged in the sum alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from echoplaned.gates.statistics import error_eprocess, silence
from echoplaned.gates.statistics.error_eprocess import ErrorTest, SourceEvidence
from echoplaned.gates.statistics.silence import SilenceEvidence
from echoplaned.ports.request_counts import Interval
from echoplaned.ports.traffic import Caller, Reporter

MAX_CLIENTS = 64
IDLE_S = 60.0
"""A client that has reported nothing for so long makes room for another one."""


@dataclass(frozen=True, slots=True)
class ClientEvidence:
    """What one client's reports say.

    Attributes:
        number: number of the client, from 1, in the order of admission over the whole rollout.
        began_s: when it was admitted, seconds since the epoch.
        last_s: when it last counted a request, seconds since the epoch.
        errors: its e-processes.
        silence: how long the new version has been without a request of it.
        total: its counts in the window.
    """

    number: int
    began_s: float
    last_s: float
    errors: SourceEvidence
    silence: SilenceEvidence = field(default_factory=SilenceEvidence)
    total: Interval = field(default_factory=Interval)

    @property
    def log_price(self) -> float:
        """What the client's number costs: the logarithm of ``k (k + 1)``."""
        return math.log(self.number * (self.number + 1.0))

    @property
    def log_e(self) -> float:
        """The logarithm of the client's e-value against the new version.

        It is less the price, and so fires at ``1 / alpha`` like any other.
        """
        return self.errors.concurrent.log_e - self.log_price

    @property
    def is_silent(self) -> bool:
        """Whether the new version should have seen requests of the client.

        That is at a chance of ``HOLD_CHANCE`` over all clients.
        """
        return self.silence.log_nominal <= math.log(silence.HOLD_CHANCE) - self.log_price


@dataclass(frozen=True, slots=True)
class ClientsEvidence:
    """Evidence of all clients that are judged.

    Attributes:
        known: evidence by client, at most ``MAX_CLIENTS``.
        admitted: how many clients ever were admitted, from 0.
        failed: the client for which the new version fails; stays so. None: there is none.
        failed_evidence: what was known of that client then; None: there is none.
        by_silence: whether it failed by its silence, rather than by its errors.
        awaited: a client whose silence is long, not yet too long; None: there is none.
    """

    known: Mapping[Reporter, ClientEvidence] = field(default_factory=lambda: MappingProxyType({}))
    admitted: int = 0
    failed: Reporter | None = None
    failed_evidence: ClientEvidence | None = None
    by_silence: bool = False
    awaited: Reporter | None = None

    @property
    def suspects(self) -> tuple[Reporter, ...]:
        """The clients whose silence is long.

        Whether it counts depends on how they are steered.
        """
        return tuple(reporter for reporter, client in self.known.items() if client.is_silent)


@dataclass(frozen=True, slots=True)
class ClientsObservation:
    """What one interval brought.

    Attributes:
        now_s: its end, seconds since the epoch.
        intervals: what each client counted.
        weight: acknowledged share of the new version in [0, 1]; None where silence says nothing.
        route_only_clients: of the suspects, those whose traffic the routes alone steer.
        reached: whether anybody's request is known to have reached the new version in this window.
        unreported: requests of the old version that clients may not have reported yet.
    """

    now_s: float
    intervals: tuple[tuple[Reporter, Interval], ...]
    weight: float | None
    route_only_clients: frozenset[Caller] = frozenset()
    reached: bool = False
    unreported: int = 0


def observe(evidence: ClientsEvidence, seen: ClientsObservation, test: ErrorTest, *, soaking: bool) -> ClientsEvidence:
    """Add what an interval brought.

    ``test.alpha`` is the chance of a false alarm by errors, and the same again by silence.
    """
    known = {r: c for r, c in evidence.known.items() if seen.now_s - c.last_s <= IDLE_S}
    admitted = evidence.admitted
    for reporter, interval in seen.intervals:
        client = known.get(reporter)
        if client is None:
            if len(known) >= MAX_CLIENTS or interval.seen == 0:
                continue
            admitted += 1
            errors = error_eprocess.stake(SourceEvidence(tells_client_errors=False))
            known[reporter] = ClientEvidence(admitted, seen.now_s, seen.now_s, errors)
        else:
            known[reporter] = _update(client, interval, seen, test, soaking=soaking)
    updated = replace(evidence, known=MappingProxyType(known), admitted=admitted)
    return updated if updated.failed is not None else _decide(updated, seen, test.alpha)


def enter(evidence: ClientsEvidence, test: ErrorTest, *, soaking: bool) -> ClientsEvidence:
    """Go on with another window; ``soaking``: whether the one before soaked."""
    known = {
        reporter: replace(
            client,
            errors=error_eprocess.stake(error_eprocess.close(client.errors, test, soaking=soaking)),
            silence=silence.restart(client.silence),
            total=Interval(),
        )
        for reporter, client in evidence.known.items()
    }
    return replace(evidence, known=MappingProxyType(known))


def _update(
    client: ClientEvidence, interval: Interval, seen: ClientsObservation, test: ErrorTest, *, soaking: bool
) -> ClientEvidence:
    if interval.seen == 0:
        return client
    current = client.silence
    if seen.weight is not None and seen.now_s - client.began_s >= silence.GRACE_S:
        current = silence.update(current, interval, seen.weight, silence.TRUST_ROUTED, seen.now_s)
    return replace(
        client,
        last_s=seen.now_s,
        errors=error_eprocess.update(client.errors, interval, test, soaking=soaking),
        silence=current,
        total=client.total + interval,
    )


def _decide(evidence: ClientsEvidence, seen: ClientsObservation, alpha: float) -> ClientsEvidence:
    awaited: Reporter | None = None
    # Nobody reaching the new version is the sum's matter; here others do.
    others = seen.reached or any(client.total.new.seen for client in evidence.known.values())
    reached = seen.weight is not None and others
    for reporter, client in evidence.known.items():
        if client.log_e >= -math.log(alpha):
            return replace(evidence, failed=reporter, failed_evidence=client)
        if not reached or not client.is_silent or reporter.caller not in seen.route_only_clients:
            continue
        if client.silence.old_requests <= seen.unreported:
            continue
        awaited = reporter
        part = alpha / (client.number * (client.number + 1.0))
        if silence.test(client.silence, part, seen.now_s, 1.0).failed:
            return replace(evidence, failed=reporter, failed_evidence=client, by_silence=True)
    return replace(evidence, awaited=awaited)
