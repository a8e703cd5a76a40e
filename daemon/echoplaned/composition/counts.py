"""What is counted beside the state: wiring of ledgers and their files."""

from __future__ import annotations

from dataclasses import dataclass

from echoplaned.engines.token_ledger import TokenLedger
from echoplaned.engines.trace_store import TraceStore
from echoplaned.engines.worker_totals import WorkerTotals
from echoplaned.runtime.clock import SteadyClock
from echoplaned.settings import Settings
from echoplaned.store.token_file import TokenFile
from echoplaned.store.usage_file import UsageFile
from echoplaned.xds.conversations import ConversationLedger
from echoplaned.xds.usage_ledger import UsageLedger


@dataclass(frozen=True, slots=True)
class Counts:
    """What is counted beside the state.

    Attributes:
        usage_file: where usage outlives the daemon.
        usage: what callers of the gateway use.
        conversations: requests of one conversation, by version.
        tokens: what the engines count of tokens.
        workers: what the engines count of requests.
        traces: what requests said, for the gates.
    """

    usage_file: UsageFile
    usage: UsageLedger
    conversations: ConversationLedger
    tokens: TokenLedger
    workers: WorkerTotals
    traces: TraceStore


def open_counts(settings: Settings, clock: SteadyClock) -> Counts:
    """Go on with what the last daemon had counted."""
    usage_file, token_file = UsageFile(settings.state_dir), TokenFile(settings.state_dir)
    tokens = TokenLedger(token_file.load(), token_file.save)
    usage = UsageLedger(usage_file.load(clock()))
    return Counts(usage_file, usage, ConversationLedger(clock), tokens, WorkerTotals(tokens), TraceStore())
