"""Reading operations."""

from __future__ import annotations

from typing import Any, TypeVar, cast

import grpc.aio
from google.protobuf.message import Message
from google.rpc import error_details_pb2

from echoplane.googleapis import operations_pb2 as longrunning_pb2
from echoplane.v1 import models_pb2, operations_pb2

Found = TypeVar("Found", bound=Message)


def unpacked(packed: object, kind: type[Found]) -> Found:
    """Return what an Any holds, having checked its kind."""
    message = kind()
    assert packed.Unpack(message)  # type: ignore[attr-defined]  # google.protobuf.Any
    return message


def metadata(operation: longrunning_pb2.Operation) -> operations_pb2.OperationMetadata:
    """Return an operation's metadata."""
    return unpacked(operation.metadata, operations_pb2.OperationMetadata)


def version_in(operation: longrunning_pb2.Operation) -> models_pb2.ModelVersion:
    """Return the version in an operation's response."""
    return unpacked(operation.response, models_pb2.ModelVersion)


def model_in(operation: longrunning_pb2.Operation) -> models_pb2.Model:
    """Return the model in an operation's response."""
    return unpacked(operation.response, models_pb2.Model)


def reason_of(operation: longrunning_pb2.Operation) -> str:
    """Return the reason of an operation's error."""
    return unpacked(operation.error.details[0], error_details_pb2.ErrorInfo).reason


def get(name: str) -> longrunning_pb2.GetOperationRequest:
    """Return the request for an operation."""
    return longrunning_pb2.GetOperationRequest(name=name)


async def rest_of(call: Any) -> list[Any]:
    """Return what a stream still sends, read by ``read`` as what came before was."""
    found = []
    while (message := await call.read()) is not cast(Any, grpc.aio).EOF:
        found.append(message)
    return found
