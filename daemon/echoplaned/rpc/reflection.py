"""Server reflection, v1alpha and v1, by one handler under both names.

The messages of the two are the same on the wire.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import grpc
import grpc.aio
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor import FileDescriptor
from grpc_reflection.v1alpha import _async as v1alpha
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

V1ALPHA = "grpc.reflection.v1alpha.ServerReflection"
V1 = "grpc.reflection.v1.ServerReflection"
_OLD_PACKAGE, _NEW_PACKAGE = "grpc.reflection.v1alpha", "grpc.reflection.v1"
_V1_FILE = "grpc/reflection/v1/reflection.proto"


def add_reflection(server: grpc.aio.Server, services: Iterable[str]) -> None:
    """Answer reflection for these services and for reflection itself."""
    _describe_v1()
    servicer = v1alpha.ReflectionServicer((*services, V1, V1ALPHA), pool=_MethodPool())
    reflection_pb2_grpc.add_ServerReflectionServicer_to_server(servicer, server)
    method: grpc.RpcMethodHandler[Any, Any] = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    handler = grpc.method_handlers_generic_handler(V1, {"ServerReflectionInfo": method})
    server.add_generic_rpc_handlers((handler,))


class _MethodPool:
    """The default descriptor pool, which also finds the file of a method.

    protobuf's own finds services, messages, enums and fields only.
    """

    def __init__(self) -> None:
        self._pool = descriptor_pool.Default()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - everything else is the pool's own
        return getattr(self._pool, name)

    def FindFileContainingSymbol(self, symbol: str) -> FileDescriptor:  # noqa: N802 - the pool's name for it
        """Return the file of a symbol.

        Raises:
            KeyError: there is none.
        """
        try:
            return self._pool.FindFileContainingSymbol(symbol)
        except KeyError:
            service, _, method = symbol.rpartition(".")
            found = self._pool.FindServiceByName(service)
            if method not in found.methods_by_name:
                raise
            return found.file


def _describe_v1() -> None:
    """Add v1's descriptor beside v1alpha's, so that v1 can be described too.

    The Python package has none.
    """
    pool = descriptor_pool.Default()
    try:
        pool.FindFileByName(_V1_FILE)
    except KeyError:
        file = descriptor_pb2.FileDescriptorProto()
        reflection_pb2.DESCRIPTOR.CopyToProto(file)
        file.name, file.package = _V1_FILE, _NEW_PACKAGE
        file.ClearField("options")
        for message in file.message_type:
            for field in (f for f in message.field if f.type_name):
                field.type_name = field.type_name.replace(_OLD_PACKAGE, _NEW_PACKAGE)
        for service in file.service:
            for method in service.method:
                method.input_type = method.input_type.replace(_OLD_PACKAGE, _NEW_PACKAGE)
                method.output_type = method.output_type.replace(_OLD_PACKAGE, _NEW_PACKAGE)
        pool.AddSerializedFile(file.SerializeToString())
