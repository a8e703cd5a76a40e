"""The chain's order, which is what its safety rests on."""

from __future__ import annotations

from envoy.extensions.filters.http.grpc_json_transcoder.v3 import transcoder_pb2

from echoplaned.ports.transcoding import TranscodedServices
from echoplaned.xds.door import filters
from echoplaned.xds.door import names as door_names


def test_the_order_of_the_filters() -> None:
    """Who calls is known before bodies are held, and what is called before it is asked whether they may; then come the rest."""
    rest = TranscodedServices(b"", ("echoplane.gateway.v1.RestService",), ("/api",))
    names = [each.name for each in filters.chain(rest)]
    assert names == [
        filters.ANSWER_HEADERS,
        filters.PAGES,
        filters.KEY_FINDER,
        door_names.KEYS,
        filters.CLIENT_READER,
        filters.BUFFER,
        filters.STRUCTURE,
        filters.TRANSFORM,
        filters.USER_READER,
        filters.EXTRACTION,
        filters.CHOOSER,
        filters.LUA,
        door_names.SCOPES,
        door_names.LIMITS,
        filters.TRANSCODER,
        "envoy.filters.http.router",
    ]
    assert [each.name for each in filters.chain(None)] == [each for each in names if each != filters.TRANSCODER]


def test_the_transcoder_is_strict() -> None:
    """It refuses methods that the API does not have, leaves parameters to the daemon, and writes fields as the API names them."""
    rest = TranscodedServices(b"set", ("a.B",), ("/api",))
    found = next(each for each in filters.chain(rest) if each.name == filters.TRANSCODER)
    config = transcoder_pb2.GrpcJsonTranscoder.FromString(found.typed_config.value)
    assert config.proto_descriptor_bin == b"set"
    assert config.request_validation_options.reject_unknown_method
    assert config.ignore_unknown_query_parameters
    assert config.print_options.preserve_proto_field_names
    assert config.match_incoming_request_route


def test_streams_are_held_by_nothing() -> None:
    """On gRPC's routes what waits for a body's end is off; where no body names a model, none is read."""
    assert filters.passed_by_grpc().keys() >= {filters.BUFFER, filters.STRUCTURE, filters.TRANSFORM}
    for switched in (filters.passed_by_rest(), filters.passed_by_oip()):
        assert switched.keys() >= {filters.STRUCTURE, filters.TRANSFORM}
        assert filters.BUFFER not in switched
