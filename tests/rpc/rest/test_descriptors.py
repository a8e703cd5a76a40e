"""What a transcoder is given."""

from __future__ import annotations

from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool

from echoplaned.rpc.rest import SERVICES, descriptor_set, transcoded_services
from echoplaned.rpc.rest.descriptors import REST_SERVICE
from echoplaned.rpc.rest.rest_service import OPENAPI_METHOD
from echoplaned.rpc.rest.routes import ROUTES


def test_dependencies_come_first() -> None:
    """A pool that is filled in the order of the set knows every service, and the types of every error detail."""
    pool = DescriptorPool()
    for file in FileDescriptorSet.FromString(descriptor_set()).file:
        pool.AddSerializedFile(file.SerializeToString())
    for name in SERVICES:
        assert pool.FindServiceByName(name).methods
    details = ("ErrorInfo", "BadRequest", "ResourceInfo", "QuotaFailure", "PreconditionFailure", "RetryInfo", "Status")
    for name in (*(f"google.rpc.{each}" for each in details), "echoplane.v1.Plan"):
        assert pool.FindMessageTypeByName(name)


def test_every_method_has_a_route() -> None:
    """And every route is a method, with an annotation and a field for each variable of its path."""
    assert {method.name for method in REST_SERVICE.methods} == {route.method for route in ROUTES} | {OPENAPI_METHOD}
    for route in ROUTES:
        assert route.path.startswith(transcoded_services().paths)
        variables = {part[1 : part.index("}")] for part in route.path.split("/") if part.startswith("{")}
        assert variables == set(route.outer.DESCRIPTOR.fields_by_name) - {"content"}
        assert set(route.parameters) <= set(route.request.DESCRIPTOR.fields_by_name)
