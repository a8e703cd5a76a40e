"""Who may call models through the gateway, as its filters need to know it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Protocol


@dataclass(frozen=True, slots=True)
class DoorClient:
    """One key, and what may be called with it.

    Attributes:
        client: id of the key.
        key: the key itself; left out wherever the rest is shown.
        may_infer: whether models may be called with it.
        models: names of the models that it is for; empty: all.
        requests_per_minute: requests a minute at most; 0: as many as come.
    """

    client: str
    key: str = field(repr=False)
    may_infer: bool = True
    models: tuple[str, ...] = ()
    requests_per_minute: int = 0


@dataclass(frozen=True, slots=True)
class DoorClients:
    """Everybody who may call through the gateway.

    Attributes:
        clients: the keys, in the order of their ids.
        required: whether a key is asked for; else callers without one may call every model.
        limits: numbers of requests a minute that other keys had, revoked ones; where they stay, nobody's count begins anew.
    """

    clients: tuple[DoorClient, ...] = ()
    required: bool = False
    limits: tuple[int, ...] = ()


class DoorClientPublisher(Protocol):
    """Tells the gateway who may call through it."""

    def publish_clients(self, clients: DoorClients) -> None:
        """Tell it, in place of all that it was told before."""
        ...

    async def wait_for_clients(self) -> None:
        """Wait until the gateway has what it was told last, for some seconds at most.

        Where there is no gateway, or it does not answer, it is told once it does.
        """
        ...


NOBODY: Final = DoorClients()
"""No key, and none is asked for."""
