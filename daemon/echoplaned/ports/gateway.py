"""State of the gateway's Envoy, as status, metrics and alarms show it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeAlias

CONTROL_CLUSTER: Final = "echoplane-control"
"""The cluster of Envoy's bootstrap that callers' requests reach the daemon by; routes to the daemon name it."""

OWN_CLUSTER: Final = "echoplane-own"
"""The one that Envoy itself speaks with the daemon by: configuration, load reports, access logs. No caller's request goes by it."""

MAX_CONCURRENT: Final = 1_000_000
"""Requests and connections a cluster may have at once. Envoy and gRPC clients default to 1,024 and fail what is above."""

GATEWAY_CERTIFICATE: Final = "echoplane-gateway-certificate"
"""Name of the ``Secret`` with the gateway's certificate, in the file and where the listener asks for it."""


class GatewayState(StrEnum):
    """How far the gateway's Envoy has come.

    OFF: no address was given. STARTING: it runs and does not listen yet. SERVING: it listens and has its routes. WAITING: it ended, and
    is started again when the back-off is over. STOPPED: the daemon watches it no more.
    """

    OFF = "OFF"
    STARTING = "STARTING"
    SERVING = "SERVING"
    WAITING = "WAITING"
    STOPPED = "STOPPED"


@dataclass(frozen=True, slots=True)
class GatewayStatus:
    """What there is to say of the gateway's Envoy at a moment.

    Attributes:
        state: how far it has come.
        listening: ``HOST:PORT`` that it was told to listen on; empty: it is off.
        pid: its process; 0: there is none.
        restarts: how often it ended by itself and was started again since the daemon started.
        last_failure: why it ended last, or could not be started; empty: it never did.
        certificate_expires_s: when its certificate expires, seconds since the epoch; 0: it speaks without TLS.
    """

    state: GatewayState = GatewayState.OFF
    listening: str = ""
    pid: int = 0
    restarts: int = 0
    last_failure: str = ""
    certificate_expires_s: float = 0.0

    @property
    def alarm(self) -> str:
        """What an operator should look at; empty: nothing."""
        if self.state in {GatewayState.WAITING, GatewayState.STARTING} and self.last_failure:
            return f"the gateway at {self.listening} does not serve: {self.last_failure}"
        return ""


ReadGateway: TypeAlias = Callable[[], GatewayStatus]
"""Returns the gateway's state now."""
