"""Who makes a gRPC call at an engine, by the call's metadata and its connection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import grpc.aio

from echoplaned.core.door_headers import caller_of
from echoplaned.worker_contract.control_key import opens
from echoplaned.worker_contract.golden import PROBE_MARK

Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True, slots=True)
class EngineCaller:
    """Who makes a call.

    Attributes:
        is_daemon: whether it has the control key.
        is_probe: whether the call is the daemon's probe; on anybody else's call the mark means nothing.
        peer: the connection, and who calls by the gateway on it.
        headers: metadata that is text; of several values of a key the first.
    """

    is_daemon: bool
    is_probe: bool
    peer: str
    headers: Mapping[str, str]


def read_caller(context: Context, control_key: str) -> EngineCaller:
    """Return who made a call."""
    metadata = tuple(context.invocation_metadata() or ())
    is_daemon = opens(control_key, metadata)
    headers = {key: value for key, value in reversed(metadata) if isinstance(value, str)}
    # Anybody may write the gateway's headers here: with the connection before them nobody takes another one's turns.
    peer = " ".join((context.peer(), caller_of(lambda name: headers.get(name, ""))))
    return EngineCaller(is_daemon, is_daemon and PROBE_MARK in metadata, peer, headers)
