"""What the gateway's callers used, as messages."""

from __future__ import annotations

from echoplane.v1 import diagnostics_pb2
from echoplaned.core.ids import VersionKey
from echoplaned.core.names import key_name, version_name
from echoplaned.core.token_counts import TokenCounts
from echoplaned.ports.usage import UsageKey, UsageTotals
from echoplaned.rpc.convert.common import duration


def usage_to_pb(key: UsageKey, usage: UsageTotals) -> diagnostics_pb2.ClientUsage:
    """Return one client's usage of one version."""
    return diagnostics_pb2.ClientUsage(
        client=key.client,
        version=version_name(key.model, key.version) if key.model else "",
        request_count=usage.requests,
        ok_count=usage.ok,
        client_error_count=usage.client_errors,
        server_error_count=usage.server_errors,
        unanswered_count=usage.unanswered,
        duration=duration(usage.duration_s),
        received_bytes=usage.received_bytes,
        sent_bytes=usage.sent_bytes,
    )


def tokens_to_pb(version: VersionKey, tokens: TokenCounts) -> diagnostics_pb2.TokenUsage:
    """Return one version's tokens."""
    return diagnostics_pb2.TokenUsage(
        version=key_name(version), prompt_count=tokens.prompt, generated_count=tokens.generated
    )
