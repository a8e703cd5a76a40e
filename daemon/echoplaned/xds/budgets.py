"""The budgets that the peers of ADS and LRS share."""

from __future__ import annotations

from echoplaned.core.budgets import Budget


class XdsBudgets:
    """The budgets that the peers of ADS and LRS share.

    Args:
        streams: of each of the two.
        names: that all ADS streams are subscribed to, each counted once a stream and type.
    """

    def __init__(self, streams: int = 10_000, names: int = 200_000) -> None:
        self.ads_streams = Budget("ADS streams", streams, streams // 4)
        self.lrs_streams = Budget("streams of load reports", streams, streams // 4)
        self.names = Budget("resource names", names, names // 5)
