"""What gRPC raises of a call, raised as an ``EchoplaneError``."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import grpc
import grpc.aio

from echoplane.errors import CancelledError, Failure, from_rpc_error

_CLOSED: Final = Failure(grpc.StatusCode.CANCELLED, "the client was closed")


@contextmanager
def translated() -> Iterator[None]:
    """Raise the errors of the call within as ours.

    Those of a client that somebody closed are among them.

    Raises:
        EchoplaneError: the call failed.
    """
    try:
        yield
    except grpc.RpcError as error:
        raise from_rpc_error(error) from error
    except (ValueError, grpc.aio.UsageError) as error:
        # gRPC has no kind of its own for a channel that is closed.
        if "closed" not in str(error):
            raise
        raise CancelledError(_CLOSED) from error
    except asyncio.CancelledError as error:
        # A channel that is closed cancels its calls, and whoever awaits one would look cancelled. Who was is so as before.
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise CancelledError(_CLOSED) from error
