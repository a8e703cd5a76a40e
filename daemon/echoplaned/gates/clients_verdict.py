"""The verdict of the gate ``clients``."""

from __future__ import annotations

import math

from echoplaned.core.state import GateVerdict, Verdict
from echoplaned.gates import error_eprocess
from echoplaned.gates.clients import ClientEvidence
from echoplaned.gates.codes import LARGEST_E_VALUE, Code, alpha_side
from echoplaned.gates.evidence import RolloutEvidence


def judge(evidence: RolloutEvidence) -> Verdict:
    """Judge what single clients see: one that the version fails or does not answer takes it back, however well the others fare."""
    clients = evidence.clients
    if clients.failed is not None and clients.failed_evidence is not None:
        client, node = clients.failed_evidence, clients.failed.node
        confidence = 1.0 - alpha_side(evidence)
        if clients.silent:
            text = f"{Code.CLIENT_UNREACHED}: {_unreached(client, node)}"
        else:
            text = f"{Code.CLIENT_FAILS}: the errors of client {node} at the new version are no chance; {_said(client)}"
        return Verdict("clients", GateVerdict.FAIL, text, confidence, _client_counts(client))
    suspicious = [(c.log_e, r.node, c) for r, c in clients.known.items() if c.log_e >= error_eprocess.LOG_BLAME]
    if suspicious:
        _, node, client = max(suspicious, key=lambda each: each[0])
        text = f"{Code.CLIENT_SUSPICIOUS}: client {node} has many errors at the new version; {_said(client)}"
        return Verdict("clients", GateVerdict.HOLD, text, 0.0, _client_counts(client))
    if clients.awaited is not None:
        client = clients.known[clients.awaited]
        text = f"{Code.CLIENT_AWAITED}: {_unreached(client, clients.awaited.node)}"
        return Verdict("clients", GateVerdict.HOLD, text, 0.0, _client_counts(client))
    reached = sum(1 for client in clients.known.values() if client.total.new.seen)
    text = f"{Code.CLIENTS_ALIKE}: {len(clients.known)} clients are judged one by one, {reached} have reached the new version"
    return Verdict("clients", GateVerdict.PASS, text, evidence.window.policy.confidence)


def _unreached(client: ClientEvidence, node: str) -> str:
    silence = client.arrivals
    return (
        f"none of about {silence.expected:.0f} expected requests of client {node} reached the new version "
        f"while the old one had {silence.old_requests} of it, and other clients reach it"
    )


def _said(client: ClientEvidence) -> str:
    new, old = client.total.new, client.total.old
    return f"{new.errors} of {new.requests} at the new version, {old.errors} of {old.requests} at the old one"


def _client_counts(client: ClientEvidence) -> tuple[tuple[str, int], ...]:
    new, old = client.total.new, client.total.old
    return (
        ("new_request_count", new.requests),
        ("new_server_error_count", new.server_errors),
        ("old_request_count", old.requests),
        ("old_server_error_count", old.server_errors),
        ("old_silent_request_count", client.arrivals.old_requests),
        ("e_value", int(math.exp(min(client.errors.concurrent.log_e, math.log(LARGEST_E_VALUE))))),
    )
