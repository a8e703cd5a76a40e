"""The gateway's chain of HTTP filters, which finds the model of a request.

Order matters. Reserved headers are gone before any filter, and before the first look at the routes (``listener``). Filters that a
route switches off are decided before the body is read, so on the routes for requests whose model is not known yet.
"""

from __future__ import annotations

from typing import Final

from envoy.config.common.mutation_rules.v3 import mutation_rules_pb2
from envoy.config.core.v3 import base_pb2, config_source_pb2, extension_pb2
from envoy.config.route.v3 import route_components_pb2
from envoy.extensions.common.matching.v3 import extension_matcher_pb2
from envoy.extensions.filters.common.matcher.action.v3 import skip_action_pb2
from envoy.extensions.filters.http.api_key_auth.v3 import api_key_auth_pb2
from envoy.extensions.filters.http.buffer.v3 import buffer_pb2
from envoy.extensions.filters.http.grpc_field_extraction.v3 import config_pb2 as extraction_pb2
from envoy.extensions.filters.http.grpc_json_transcoder.v3 import transcoder_pb2
from envoy.extensions.filters.http.header_mutation.v3 import header_mutation_pb2
from envoy.extensions.filters.http.header_to_metadata.v3 import header_to_metadata_pb2
from envoy.extensions.filters.http.local_ratelimit.v3 import local_rate_limit_pb2
from envoy.extensions.filters.http.lua.v3 import lua_pb2
from envoy.extensions.filters.http.rbac.v3 import rbac_pb2
from envoy.extensions.filters.http.router.v3 import router_pb2
from envoy.extensions.filters.http.transform.v3 import transform_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2 as hcm_pb2
from google.protobuf import any_pb2, descriptor_pb2, duration_pb2, wrappers_pb2

from echoplane.inference import grpc_service_pb2 as oip
from echoplaned.core.door_headers import CLIENT_HEADER
from echoplaned.ports.transcoding import TranscodedServices
from echoplaned.xds.conversations import CONVERSATION, USER
from echoplaned.xds.door import cors, matching, renaming, statuses, structure
from echoplaned.xds.door.names import (
    KEY_HEADER,
    KEYS,
    LIMIT_HEADER,
    LIMITS,
    MODEL_HEADER,
    OIP_SERVICE,
    REFUSED_HEADER,
    SCOPES,
    USER_HEADER,
    VERSION_HEADER,
)
from echoplaned.xds.messages import ROUTER_FILTER, Message, ads_source, pack_any

ANSWER_HEADERS: Final = "envoy.filters.http.header_mutation"
PAGES: Final = "echoplane.pages"
BUFFER: Final = "envoy.filters.http.buffer"
STRUCTURE: Final = "echoplane.structure"
TRANSFORM: Final = "envoy.filters.http.transform"
EXTRACTION: Final = "envoy.filters.http.grpc_field_extraction"
KEY_FINDER: Final = "echoplane.key"
CLIENT_READER: Final = "echoplane.client"
CHOOSER: Final = "echoplane.choose"
USER_READER: Final = "envoy.filters.http.header_to_metadata"
LUA: Final = "envoy.filters.http.lua"
TRANSCODER: Final = "envoy.filters.http.grpc_json_transcoder"

MAX_BODY_BYTES: Final = 16 * 1024 * 1024
"""Of one request; Envoy's thread reads a MiB of JSON in 10 to 12 ms, and all others on it wait."""

LIMIT_SIGN: Final = "/"
"""Between a key's id and its limit; no id has it."""

_MAX_ANSWER_BYTES: Final = 16 * 1024 * 1024
_OIP_NAMES: Final = {
    "ModelInfer": "model_name",
    "ModelStreamInfer": "model_name",
    "ModelMetadata": "name",
    "ModelReady": "name",
}
"""Methods whose requests name a model, and the field that does."""

_CHOOSE: Final = "choose"
# The extraction writes a list, and does not make Envoy look for the route again; the name in a REST path has no filter of its own.
_CHOOSE_MODEL: Final = f"""
function envoy_on_request(handle)
  local headers = handle:headers()
  local found = handle:streamInfo():dynamicMetadata():get("{EXTRACTION}")
  local model = nil
  if found ~= nil then
    local name = found["model_name"] or found["name"]
    model = name ~= nil and name[1] or nil
  else
    local path = headers:get(":path") or ""
    if string.sub(path, 1, 4) ~= "/v2/" then return end
    model = string.match(path, "^/v2/models/([^/?]+)")
    if model == nil then headers:remove("{MODEL_HEADER}") end
  end
  -- No model's name has others than printable characters of ASCII, and a header with such would be no header, or two.
  if model ~= nil and string.find(model, "[%z\\1-\\31\\127-\\255]") ~= nil then model = nil end
  if model ~= nil and model ~= "" then headers:replace("{MODEL_HEADER}", model) end
  handle:clearRouteCache()
end
"""


# Keys come where OpenAI's and where Anthropic's clients put theirs. The routes let neither header go on: an engine sees which key it was.
# Who has none is anonymous from the start (``listener``), and costs no script: some clients send a key of another service.
_MAY_BE_KEY: Final = r"(?s).*ep_.*"
_FIND_KEY: Final = f"""
function envoy_on_request(handle)
  local headers = handle:headers()
  local said = headers:get("authorization")
  local key = said ~= nil and string.match(said, "^[Bb][Ee][Aa][Rr][Ee][Rr] +(ep_%S+)$") or nil
  said = headers:get("x-api-key")
  if key == nil and said ~= nil then key = string.match(said, "^ep_%S+$") end
  if key ~= nil then headers:replace("{KEY_HEADER}", key) end
end

function envoy_on_response(handle)
  local headers = handle:headers()
  -- The route is chosen before it is known who may take it, and puts its version into whatever is answered.
  if headers:get("{REFUSED_HEADER}") ~= nil then
    headers:remove("{REFUSED_HEADER}")
    headers:remove("{VERSION_HEADER}")
  end
  if headers:get(":status") ~= "429" and headers:get("grpc-status") ~= "8" then return end
  local wait = headers:get("x-ratelimit-reset")
  if wait ~= nil and headers:get("retry-after") == nil then headers:add("retry-after", wait) end
end
"""

# The filter that knows the keys tells one text of each: its id, and how many requests a minute it may make where it has a limit.
_READ_CLIENT: Final = f"""
function envoy_on_request(handle)
  local headers = handle:headers()
  local id, limit = string.match(headers:get("{CLIENT_HEADER}") or "", "^(.-){LIMIT_SIGN}(%d+)$")
  if id == nil then return end
  headers:replace("{CLIENT_HEADER}", id)
  headers:replace("{LIMIT_HEADER}", limit)
end
"""


def chain(transcoded: TranscodedServices | None) -> list[hcm_pb2.HttpFilter]:
    """Return the filters in the order in which a request passes them.

    ``transcoded``: what REST calls are answered with; None: there is no REST.
    """
    filters = [
        _filter(ANSWER_HEADERS, _without_marks()),  # the last one that an answer passes
        _dormant(PAGES, _script(cors.SCRIPT, cors.SOURCE)),
        # Who calls: before anything of the body is held in memory.
        _filter(KEY_FINDER, _where_a_key_may_be(KEY_FINDER, _lua(_FIND_KEY))),
        _served(KEYS, api_key_auth_pb2.ApiKeyAuth()),
        _filter(CLIENT_READER, _where_a_key_may_be(CLIENT_READER, _lua(_READ_CLIENT))),
        _filter(BUFFER, buffer_pb2.Buffer(max_request_bytes=wrappers_pb2.UInt32Value(value=MAX_BODY_BYTES))),
        _filter(STRUCTURE, _lua(structure.SOURCE)),
        _filter(TRANSFORM, _transform()),
        _filter(USER_READER, _user_reader()),
        _filter(EXTRACTION, _extraction()),
        _dormant(CHOOSER, _chooser()),
        _filter(LUA, _scripts()),
        # Who may call this model, and how often: it is known by now.
        _served(SCOPES, rbac_pb2.RBAC()),
        _served(LIMITS, local_rate_limit_pb2.LocalRateLimit()),
    ]
    if transcoded is not None:
        filters.append(_filter(TRANSCODER, _transcoder(transcoded)))
    return [*filters, _filter(ROUTER_FILTER, router_pb2.Router(suppress_envoy_headers=True))]


def for_named_models() -> dict[str, any_pb2.Any]:
    """Return what routes switch off whose model is named in a JSON body.

    It looks into gRPC's requests alone.
    """
    return {EXTRACTION: _off(), **passed_by_engines()}


def choosing_models() -> dict[str, any_pb2.Any]:
    """Return what routes add whose model is named in a path or in gRPC's request."""
    return {CHOOSER: pack_any(lua_pb2.LuaPerRoute(name=_CHOOSE))}


def passed_by_engines() -> dict[str, any_pb2.Any]:
    """Return what routes of models switch off: the transcoder.

    It refuses every path that is none of its own.
    """
    return {TRANSCODER: _off()}


def passed_by_grpc() -> dict[str, any_pb2.Any]:
    """Return what routes of gRPC switch off: all that waits for a body's end.

    It would hold a stream for ever.
    """
    return {
        BUFFER: pack_any(buffer_pb2.BufferPerRoute(disabled=True)),
        **_unread(),
        **passed_by_engines(),
    }


def passed_by_rest() -> dict[str, any_pb2.Any]:
    """Return what routes of REST calls switch off, and the gRPC headers they hide."""
    hidden = ("grpc-status", "grpc-message", "grpc-status-details-bin", "grpc-accept-encoding", "grpc-encoding")
    mutations = header_mutation_pb2.Mutations(
        response_mutations=[mutation_rules_pb2.HeaderMutation(remove=name) for name in hidden]
    )
    per_route = header_mutation_pb2.HeaderMutationPerRoute(mutations=mutations)
    return {**_unread(), ANSWER_HEADERS: pack_any(per_route)}


def passed_by_oip() -> dict[str, any_pb2.Any]:
    """Return what routes of OIP's REST form switch off: what reads a JSON body.

    The path names the model, and a tensor of a million numbers is an honest one.
    """
    return {**_unread(), **passed_by_engines()}


def _unread() -> dict[str, any_pb2.Any]:
    """Return the filters that read JSON bodies, switched off."""
    return {STRUCTURE: _off(), TRANSFORM: _off(), USER_READER: _off()}


def hidden_from_pages() -> dict[str, any_pb2.Any]:
    """Return what routes switch off that no web page may call, whatever its origin."""
    return {PAGES: _off()}


def passed_by_anybody() -> dict[str, any_pb2.Any]:
    """Return what routes switch off that ask nobody for a key."""
    return {KEY_FINDER: _off(), KEYS: _off(), CLIENT_READER: _off()}


def _off() -> any_pb2.Any:
    return pack_any(route_components_pb2.FilterConfig(disabled=True))


def _filter(name: str, config: Message) -> hcm_pb2.HttpFilter:
    return hcm_pb2.HttpFilter(name=name, typed_config=pack_any(config))


def _dormant(name: str, config: Message) -> hcm_pb2.HttpFilter:
    """Return a filter that is there on routes alone which configure it.

    On others it costs nothing.
    """
    return hcm_pb2.HttpFilter(name=name, typed_config=pack_any(config), disabled=True)


def _without_marks() -> header_mutation_pb2.HeaderMutation:
    """Return what takes the gateway's own marks out of every answer.

    Also out of refusals of requests that the filter which reads them passed over, as they could have no key.
    """
    removed = mutation_rules_pb2.HeaderMutation(remove=REFUSED_HEADER)
    return header_mutation_pb2.HeaderMutation(mutations=header_mutation_pb2.Mutations(response_mutations=[removed]))


def _where_a_key_may_be(name: str, config: Message) -> extension_matcher_pb2.ExtensionWithMatcher:
    """Return a filter that passes over requests which can have no key of ours."""
    headers = (matching.header_is(header, _MAY_BE_KEY) for header in ("authorization", "x-api-key"))
    skip = matching.action("skip", skip_action_pb2.SkipFilter())
    return extension_matcher_pb2.ExtensionWithMatcher(
        xds_matcher=matching.first_of(matching.unless_any(headers, skip)),
        extension_config=extension_pb2.TypedExtensionConfig(name=name, typed_config=pack_any(config)),
    )


def _served(name: str, kind: Message) -> hcm_pb2.HttpFilter:
    """Return a filter whose configuration comes apart from the listener.

    There is no default: until it came no request passes.
    """
    source = ads_source()
    source.initial_fetch_timeout.CopyFrom(duration_pb2.Duration(seconds=0))
    discovery = config_source_pb2.ExtensionConfigSource(config_source=source, type_urls=[pack_any(kind).type_url])
    return hcm_pb2.HttpFilter(name=name, config_discovery=discovery)


def _lua(source: str) -> lua_pb2.Lua:
    return lua_pb2.Lua(default_source_code=base_pb2.DataSource(inline_string=source))


def _transform() -> transform_pb2.TransformConfig:
    fields = {MODEL_HEADER: "%REQUEST_BODY(model)%", USER_HEADER: "%REQUEST_BODY(user)%"}
    mutations = [
        mutation_rules_pb2.HeaderMutation(
            append=base_pb2.HeaderValueOption(
                header=base_pb2.HeaderValue(key=name, value=value),
                append_action=base_pb2.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD,
            )
        )
        for name, value in fields.items()
    ]
    return transform_pb2.TransformConfig(
        clear_route_cache=True,
        request_transformation=transform_pb2.Transformation(headers_mutations=mutations),
    )


def _user_reader() -> header_to_metadata_pb2.Config:
    """Return what keeps a body's ``user`` for the access log.

    The routes take its header away before that is written.
    """
    kept = header_to_metadata_pb2.Config.KeyValuePair(metadata_namespace=CONVERSATION, key=USER)
    rule = header_to_metadata_pb2.Config.Rule(header=USER_HEADER, on_header_present=kept)
    return header_to_metadata_pb2.Config(request_rules=[rule])


def _chooser() -> lua_pb2.Lua:
    """Return what chooses a model by path and by gRPC's request.

    A body may have chosen another route meanwhile, which does not name the script: the default runs then.
    """
    found = _script(_CHOOSE, _CHOOSE_MODEL)
    found.default_source_code.inline_string = _CHOOSE_MODEL
    return found


def _scripts() -> lua_pb2.Lua:
    found = _script(renaming.SCRIPT, renaming.SOURCE)
    found.source_codes[statuses.SCRIPT].inline_string = statuses.SOURCE
    return found


def _script(name: str, source: str) -> lua_pb2.Lua:
    """Return a filter that runs a script on the routes that name it, and on no other."""
    return lua_pb2.Lua(source_codes={name: base_pb2.DataSource(inline_string=source)})


def _extraction() -> extraction_pb2.GrpcFieldExtractionConfig:
    file = descriptor_pb2.FileDescriptorProto()
    oip.DESCRIPTOR.CopyToProto(file)
    descriptors = descriptor_pb2.FileDescriptorSet(file=[file]).SerializeToString(deterministic=True)
    by_method = {
        f"{OIP_SERVICE}.{method}": extraction_pb2.FieldExtractions(
            request_field_extractions={field: extraction_pb2.RequestFieldValueDisposition()}
        )
        for method, field in _OIP_NAMES.items()
    }
    return extraction_pb2.GrpcFieldExtractionConfig(
        descriptor_set=base_pb2.DataSource(inline_bytes=descriptors), extractions_by_method=by_method
    )


def _transcoder(transcoded: TranscodedServices) -> transcoder_pb2.GrpcJsonTranscoder:
    config = transcoder_pb2.GrpcJsonTranscoder
    return config(
        proto_descriptor_bin=transcoded.descriptor_set,
        services=transcoded.services,
        print_options=config.PrintOptions(preserve_proto_field_names=True, always_print_primitive_fields=True),
        convert_grpc_status=True,
        match_incoming_request_route=True,
        # Parameters and bodies are the daemon's to refuse, by name; refused here they would be a line of text.
        ignore_unknown_query_parameters=True,
        request_validation_options=config.RequestValidationOptions(reject_unknown_method=True),
        max_response_body_size=wrappers_pb2.UInt32Value(value=_MAX_ANSWER_BYTES),
    )
