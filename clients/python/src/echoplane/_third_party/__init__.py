"""Messages of others that the API's descriptors refer to."""

from __future__ import annotations

from importlib import import_module

# Two copies of buf/validate/validate.proto in one process must be the same one: a service that has the module
# (older protovalidate needs it) keeps its own, whichever is imported first; everybody else gets ours.
try:
    validate_pb2 = import_module("buf.validate.validate_pb2")
except ModuleNotFoundError:
    validate_pb2 = import_module("echoplane._third_party.buf.validate.validate_pb2")

__all__ = ["validate_pb2"]
