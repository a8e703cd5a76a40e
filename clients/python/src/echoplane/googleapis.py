"""Google's common messages and the Operations service.

As this client and the daemon use them: import them from here. `google.longrunning.operations_pb2_grpc` cannot be imported where both
googleapis-common-protos and xds-protos are installed (they bring different descriptors under one file name); the stubs here go with
whichever messages are there.
"""

from __future__ import annotations

from google.longrunning import operations_pb2
from google.rpc import error_details_pb2, status_pb2

from echoplane._third_party.google.longrunning import operations_pb2_grpc

__all__ = ["error_details_pb2", "operations_pb2", "operations_pb2_grpc", "status_pb2"]
