"""What an entry of Envoy's access log counts as, and how it is added up within bounds."""

from __future__ import annotations

from typing import Any

import pytest
from envoy.data.accesslog.v3 import accesslog_pb2

from echoplaned.core.numbers import MAX_COUNT
from echoplaned.ports.usage import OTHER_CLIENTS, UsageKey, UsageReport, UsageTotals
from echoplaned.xds import usage_ledger
from echoplaned.xds.access_logs import read_entry
from echoplaned.xds.usage_ledger import UsageLedger


def entry(status: int = 200, cluster: str = "models/m/versions/v1", **flags: bool) -> Any:
    """Make an entry of an HTTP request."""
    made = accesslog_pb2.HTTPAccessLogEntry()
    made.common_properties.upstream_cluster = cluster
    made.common_properties.duration.FromMilliseconds(1500)
    for name, value in flags.items():
        setattr(made.common_properties.response_flags, name, value)
    made.request.request_body_bytes, made.response.response_body_bytes = 10, 20
    made.response.response_code.value = status
    return made


def grpc_entry(code: str | None, *, in_headers: bool = False, **flags: bool) -> Any:
    """Make an entry of a gRPC call, whose HTTP status is always 200."""
    made = entry(200, "models/m/versions/v1", **flags)
    made.request.request_headers["content-type"] = "application/grpc+proto"
    if code is not None:
        (made.response.response_headers if in_headers else made.response.response_trailers)["grpc-status"] = code
    return made


def http_entry(content_type: str, status: int = 200) -> Any:
    """Make an entry of a request to an engine's HTTP, whose caller says that it is of a type."""
    made = entry(status, "models/m/versions/v1/openai")
    made.request.request_headers["content-type"] = content_type
    return made


@pytest.mark.parametrize(
    ("made", "outcome"),
    [
        (entry(200), "ok"),
        (entry(304), "ok"),
        (entry(404), "client_errors"),
        (entry(429), "client_errors"),
        (entry(503), "server_errors"),
        (entry(0), "unanswered"),
        (entry(200, downstream_connection_termination=True), "unanswered"),
        (entry(200, downstream_remote_reset=True), "unanswered"),
        (entry(200, upstream_remote_reset=True), "server_errors"),
        (entry(200, upstream_connection_termination=True), "server_errors"),
        (grpc_entry("0"), "ok"),
        (grpc_entry("5"), "client_errors"),
        (grpc_entry("5", in_headers=True), "client_errors"),
        (grpc_entry("14"), "server_errors"),
        (grpc_entry("1"), "unanswered"),
        (grpc_entry(None), "server_errors"),
        (http_entry("application/grpc-web"), "ok"),
        (http_entry("application/grpcx"), "ok"),
        (http_entry("application/grpc-web", 503), "server_errors"),
        (grpc_entry(None, downstream_connection_termination=True), "unanswered"),
    ],
)
def test_outcomes(made: Any, outcome: str) -> None:
    """A status by its class, a gRPC call by its code, a stream that was cut by whoever cut it; never by what the caller says it is."""
    _, usage = read_entry(made)
    assert usage == UsageTotals(**{outcome: 1}, received_bytes=10, sent_bytes=20, duration_s=1.5)


def test_whose_it_was() -> None:
    """The version by the cluster, of either kind; the client by the gateway's own header, cut to a bound."""
    assert read_entry(entry())[0] == UsageKey("", "m", "v1")
    assert read_entry(entry(cluster="models/m/versions/v1/openai"))[0] == UsageKey("", "m", "v1")
    assert read_entry(entry(cluster="echoplane-control"))[0] == UsageKey()
    assert read_entry(entry(404, cluster=""))[0] == UsageKey()
    made = entry()
    made.request.request_headers["x-echoplane-client"] = "a" * 1000
    assert read_entry(made)[0] == UsageKey("a" * 128, "m", "v1")


def test_numbers_stay_in_range() -> None:
    """Whatever an entry says, totals can be answered."""
    made = entry()
    made.response.response_body_bytes = 2**64 - 1
    ledger = UsageLedger(UsageReport(7.0))
    for _ in range(3):
        ledger.add(*read_entry(made))
    (usage,) = ledger.report().usages.values()
    assert (usage.ok, usage.sent_bytes) == (3, MAX_COUNT)
    assert ledger.report().start_s == 7.0


def test_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients beyond the bound are one, and so are pairs; nothing is lost of the sum, and who was known goes on."""
    monkeypatch.setattr(usage_ledger, "MAX_CLIENTS", 5)
    monkeypatch.setattr(usage_ledger, "MAX_KEYS", 12)
    ledger = UsageLedger(UsageReport(0.0, {UsageKey("c0", "m", "v"): UsageTotals(ok=1)}))
    for count in range(1000):
        ledger.add(UsageKey(f"c{count % 50}", "m", f"v{count % 100}"), UsageTotals(ok=1, sent_bytes=2))
    usages = ledger.report().usages
    assert len(usages) <= 13
    assert {key.client for key in usages} == {"c0", "c1", "c2", "c3", "c4", OTHER_CLIENTS}
    total = sum(usages.values(), start=UsageTotals())
    assert (total.ok, total.sent_bytes) == (1001, 2000)


async def test_saving(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what changed is saved; a save that failed is tried again, and its fault goes nowhere else."""
    saved: list[UsageReport] = []
    ledger = UsageLedger(UsageReport(0.0))

    def full(_report: UsageReport) -> None:
        raise OSError(28, "No space left on device")

    await ledger.save(saved.append)
    ledger.add(UsageKey("a"), UsageTotals(ok=1))
    await ledger.save(full)
    await ledger.save(saved.append)
    await ledger.save(saved.append)
    assert [dict(each.usages) for each in saved] == [{UsageKey("a"): UsageTotals(ok=1)}]
