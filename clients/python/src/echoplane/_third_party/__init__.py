"""Messages of others that the API's descriptors refer to."""

from __future__ import annotations

# Two copies of buf/validate/validate.proto in one process must be the same one: a service that has the module
# (protovalidate before 2.0 installs it) keeps its own, whichever is imported first; everybody else gets ours.
try:
    from buf.validate import validate_pb2
except ModuleNotFoundError:
    from echoplane._third_party.buf.validate import validate_pb2

__all__ = ["validate_pb2"]
