"""The gate ``clients``: fails a version that fails a single client.

It does so too where a single client does not reach it, however well the others fare.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from echoplaned.core.rollout_state import GateVerdict, Verdict
from echoplaned.gates.client_reports import ClientReports, LookUpRouteOnlyClients
from echoplaned.gates.clients import evidence as clients
from echoplaned.gates.clients.evidence import ClientEvidence, ClientsEvidence, ClientsObservation
from echoplaned.gates.codes import Code, e_value, short
from echoplaned.gates.gate import JudgeContext, Judgement, Need, Observation, Start
from echoplaned.gates.statistics import error_eprocess, silence
from echoplaned.gates.window import Window

NAME = "clients"

REPORTED_AFTER_S = 2.0
"""By then a request is reported: clients report every second."""


@dataclass(frozen=True, slots=True)
class ClientsWindow:
    """What is known of single clients, and the window that it is judged by.

    Attributes:
        window: the window to which the counts belong.
        clients: the evidence.
        reached: whether any request reached the new version in the window, whoever counted it.
        recent: requests that reached the old version in the last ``REPORTED_AFTER_S``: when, in seconds since the epoch, and how many.
        left_out: why clients are not believed; empty: they are.
        uncounted: a version whose engines do not count what clients report; empty: there is none.
    """

    window: Window
    clients: ClientsEvidence = field(default_factory=ClientsEvidence)
    reached: bool = False
    recent: tuple[tuple[float, int], ...] = ()
    left_out: str = ""
    uncounted: str = ""


class ClientsGate:
    """Implements ``Gate`` on the load reports of single clients.

    It has a say once any client was admitted.
    """

    @property
    def name(self) -> str:
        """The gate's name."""
        return NAME

    def needs(self) -> frozenset[Need]:
        """Nothing that an engine could lack: clients count for themselves."""
        return frozenset()

    def begin(self, start: Start) -> ClientsWindow:
        """Begin with no client known."""
        return ClientsWindow(start.window)

    def enter(self, evidence: ClientsWindow, window: Window) -> ClientsWindow:
        """Go on with another window."""
        test, soaking = evidence.window.error_test, evidence.window.soaking
        known = clients.enter(evidence.clients, test, soaking=soaking)
        return replace(evidence, window=window, clients=known, reached=False)

    def observe(self, evidence: ClientsWindow, seen: Observation) -> ClientsWindow:
        """Add the interval's reports.

        Silence counts only under weights that everybody has had for a while.
        """
        window = evidence.window
        left_out = next((why for _, why in seen.left_out), "")
        if left_out:
            return replace(evidence, clients=ClientsEvidence(), left_out=left_out)
        evidence = _count(evidence, seen)
        reports = seen.part(ClientReports) or ClientReports()
        is_young = seen.now_s - window.began_s < silence.GRACE_S
        weight = None if is_young or seen.stale_subscribers else seen.weight
        test = replace(window.error_test, alpha=window.side_alpha)
        unreported = sum(count for _, count in evidence.recent)
        observed = ClientsObservation(
            seen.now_s,
            reports.intervals,
            weight,
            reports.route_only_clients,
            reached=evidence.reached,
            unreported=unreported,
        )
        return replace(evidence, clients=clients.observe(evidence.clients, observed, test, soaking=window.soaking))

    def judge(self, evidence: ClientsWindow, moment: JudgeContext) -> Judgement:
        """Judge every client as it was observed last, whatever the moment."""
        known = evidence.clients
        if evidence.left_out:
            text = f"{Code.CLAIMS_LEFT_OUT}: load reports are left out, workers and probes decide: {evidence.left_out}"
            return Judgement(Verdict(NAME, GateVerdict.PASS, text))
        asks = (LookUpRouteOnlyClients(),) if known.suspects else ()
        return Judgement(_decide(evidence) if known.admitted else None, asks)


def _count(evidence: ClientsWindow, seen: Observation) -> ClientsWindow:
    """Note what the sources count of both versions together.

    That is who was reached, and what may not be reported yet.
    """
    recent = tuple((at_s, n) for at_s, n in evidence.recent if seen.now_s - at_s < REPORTED_AFTER_S)
    arrived = max((interval.old.seen for _, interval in seen.all_requests), default=0)
    uncounted = next((lack.version for lack in seen.lacks if lack.need in {Need.ARRIVALS, Need.ERRORS}), "")
    return replace(
        evidence,
        reached=evidence.reached or any(interval.new.seen for _, interval in seen.all_requests),
        recent=(*recent, (seen.now_s, arrived)),
        uncounted=uncounted,
    )


def _decide(evidence: ClientsWindow) -> Verdict:
    known = evidence.clients
    if known.failed is not None and known.failed_evidence is not None:
        return _fail(evidence, known.failed.node, known.failed_evidence)
    suspicious = [(c.log_e, r.node, c) for r, c in known.known.items() if c.log_e >= error_eprocess.LOG_BLAME]
    if suspicious:
        _, node, client = max(suspicious, key=lambda each: each[0])
        text = f"{Code.CLIENT_SUSPICIOUS}: client {node} has many errors at the new version; {_errors_of(client)}"
        return Verdict(NAME, GateVerdict.HOLD, text, 0.0, _counts(client))
    if known.awaited is not None:
        client = known.known[known.awaited]
        text = f"{Code.CLIENT_AWAITED}: {_silence_of(client, known.awaited.node)}"
        return Verdict(NAME, GateVerdict.HOLD, text, 0.0, _counts(client))
    reached = sum(1 for client in known.known.values() if client.total.new.seen)
    text = f"{Code.CLIENTS_ALIKE}: {len(known.known)} clients are judged one by one, {reached} have reached the new version"
    return Verdict(NAME, GateVerdict.PASS, text, evidence.window.policy.confidence)


def _fail(evidence: ClientsWindow, node: str, client: ClientEvidence) -> Verdict:
    if evidence.clients.by_silence:
        text = f"{Code.CLIENT_UNREACHED}: {_silence_of(client, node)}"
    else:
        text = (
            f"{Code.CLIENT_FAILS}: the error rate of client {node} is significantly higher at the new version than at the "
            f"old one (e-value {short(e_value(client.log_e))}, threshold {short(1.0 / evidence.window.side_alpha)}); "
            f"{_errors_of(client)}"
        )
    if evidence.uncounted:
        text = f"{Code.UNCOUNTED}: the engines of version {evidence.uncounted} do not count what clients report; they say {text}"
        return Verdict(NAME, GateVerdict.HOLD, text, 0.0, _counts(client))
    return Verdict(NAME, GateVerdict.FAIL, text, 1.0 - evidence.window.side_alpha, _counts(client))


def _silence_of(client: ClientEvidence, node: str) -> str:
    current = client.silence
    return (
        f"none of about {current.expected:.0f} expected requests of client {node} reached the new version "
        f"while the old one had {current.old_requests} of it, and other clients reach it"
    )


def _errors_of(client: ClientEvidence) -> str:
    new, old = client.total.new, client.total.old
    return f"{new.errors} of {new.requests} at the new version, {old.errors} of {old.requests} at the old one"


def _counts(client: ClientEvidence) -> tuple[tuple[str, int], ...]:
    new, old = client.total.new, client.total.old
    return (
        ("new_request_count", new.requests),
        ("new_server_error_count", new.server_errors),
        ("old_request_count", old.requests),
        ("old_server_error_count", old.server_errors),
        ("old_silent_request_count", client.silence.old_requests),
        ("e_value", int(e_value(client.errors.concurrent.log_e))),
    )
