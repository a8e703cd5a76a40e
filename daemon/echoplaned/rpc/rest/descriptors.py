"""Descriptors of our services and prefixes of their routes, for a transcoder."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Final

from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from echoplane.gateway.v1 import oip_pb2, openai_pb2, rest_pb2
from echoplane.googleapis import error_details_pb2, status_pb2
from echoplane.v1 import plans_pb2
from echoplaned.ports.transcoding import TranscodedServices

REST_SERVICE: Final = rest_pb2.DESCRIPTOR.services_by_name["RestService"]
OPENAI_SERVICE: Final = openai_pb2.DESCRIPTOR.services_by_name["OpenAiService"]
OIP_SERVICE: Final = oip_pb2.DESCRIPTOR.services_by_name["OipService"]
SERVICES: Final[tuple[str, ...]] = (REST_SERVICE.full_name, OPENAI_SERVICE.full_name, OIP_SERVICE.full_name)
PATHS: Final = ("/api/v1/model_serving", "/health", "/openapi.json", "/v1/models")

# An error whose details have a type that is not in the set loses its whole body, so their files are in it too.
_FILES: Final = (
    rest_pb2.DESCRIPTOR,
    openai_pb2.DESCRIPTOR,
    oip_pb2.DESCRIPTOR,
    status_pb2.DESCRIPTOR,
    error_details_pb2.DESCRIPTOR,
    plans_pb2.DESCRIPTOR,
)


@cache
def descriptor_set() -> bytes:
    """Return the services' FileDescriptorSet, serialised, dependencies first.

    Envoy refuses any other order.
    """
    found: dict[str, FileDescriptor] = {}
    for file in _FILES:
        for each in _with_dependencies(file):
            found.setdefault(each.name, each)
    files = FileDescriptorSet()
    for each in found.values():
        each.CopyToProto(files.file.add())
    return files.SerializeToString(deterministic=True)


def transcoded_services() -> TranscodedServices:
    """Return what the gateway's Envoy needs to call these services."""
    return TranscodedServices(descriptor_set(), SERVICES, PATHS)


def _with_dependencies(file: FileDescriptor) -> Iterator[FileDescriptor]:
    for dependency in file.dependencies:
        yield from _with_dependencies(dependency)
    yield file
