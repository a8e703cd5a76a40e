"""The access log service: the gateway's Envoy tells of every request that ended.

Envoy gathers entries for a second or 64 KiB and goes on when nobody takes them, so no request ever waits for this; what ends while the
daemon is away is counted by nobody. What an entry says of paths, addresses and agents is not kept.
"""

from __future__ import annotations

from typing import Any, Final

import grpc
import grpc.aio
import structlog
from envoy.data.accesslog.v3 import accesslog_pb2
from envoy.service.accesslog.v3 import als_pb2

from echoplaned.core.door_headers import ANONYMOUS, CLIENT_HEADER
from echoplaned.core.ids import VersionKey
from echoplaned.core.numbers import MAX_COUNT, clamp_count, clamp_real
from echoplaned.ports.request_counts import NOTHING, RequestCounts
from echoplaned.ports.usage import UsageKey, UsageTotals
from echoplaned.request_reader import Context, RequestReader
from echoplaned.xds.conversations import CONVERSATION, CONVERSATION_HEADER, USER, ConversationLedger
from echoplaned.xds.names import is_openai_cluster, parse_cluster
from echoplaned.xds.requests import BadRequestError, parse
from echoplaned.xds.usage_ledger import UsageLedger

SERVICE: Final = als_pb2.DESCRIPTOR.services_by_name["AccessLogService"].full_name
CONTENT_TYPE: Final = "content-type"
GRPC_STATUS: Final = "grpc-status"
log = structlog.get_logger(__name__)

_GRPC: Final = "application/grpc"
_MAX_CLIENT: Final = 128
_OK, _CANCELLED = "0", "1"
_CALLERS: Final = frozenset({"3", "5", "6", "7", "8", "9", "11", "12", "16"})
"""gRPC codes that say something of the request: https://github.com/googleapis/googleapis/blob/master/google/rpc/code.proto"""

_EXHAUSTED: Final = "8"
_TOO_MANY: Final = 429
_CALLER, _SERVER = 400, 500


class AccessLogService:
    """Takes the gateway's access logs.

    Args:
        ledger: adds them up.
        conversations: counts requests of conversations.
    """

    def __init__(self, ledger: UsageLedger, conversations: ConversationLedger) -> None:
        self._ledger = ledger
        self._conversations = conversations

    def handler(self) -> grpc.GenericRpcHandler[Any, Any]:
        """Return the handler to add to the gateway's own server."""
        methods = {
            "StreamAccessLogs": grpc.stream_unary_rpc_method_handler(
                self._stream,  # no deserializer: as in ``ads``
                response_serializer=als_pb2.StreamAccessLogsResponse.SerializeToString,
            )
        }
        return grpc.method_handlers_generic_handler(SERVICE, methods)

    async def _stream(self, _requests: object, context: Context) -> als_pb2.StreamAccessLogsResponse:
        async for raw in RequestReader(context):  # nobody but the gateway's Envoy reaches this
            try:
                message = parse(raw, als_pb2.StreamAccessLogsMessage.FromString)
            except BadRequestError as problem:
                # Ending the stream would lose what comes after it as well.
                log.warning("usage.not_understood", problem=str(problem), bytes=len(raw))
                continue
            for entry in message.http_logs.log_entry:
                self._take(entry)
        return als_pb2.StreamAccessLogsResponse()

    def _take(self, entry: accesslog_pb2.HTTPAccessLogEntry) -> None:
        key, usage = read_entry(entry)
        self._ledger.add(key, usage)
        conversation = read_conversation(entry)
        if conversation is None or not key.version:
            return
        left = usage.unanswered > 0
        # An engine counts a call that its caller left as the caller's mistake: it is taken off as one, or a caller who knows which of his
        # conversations are at the new version would take it back by leaving its calls.
        ended = RequestCounts(
            ok=usage.ok, client_errors=usage.client_errors + usage.unanswered, server_errors=usage.server_errors
        )
        self._conversations.add(
            VersionKey(key.model, key.version), conversation, NOTHING if _found_no_room(entry) else ended, left=left
        )


def read_conversation(entry: accesslog_pb2.HTTPAccessLogEntry) -> str | None:
    """Return the name of a request's conversation.

    The gateway kept it at its version by that; None: by none.
    """
    headers = entry.request.request_headers
    if CONVERSATION_HEADER in headers:
        return str(headers[CONVERSATION_HEADER])
    found = entry.common_properties.metadata.filter_metadata
    if CONVERSATION not in found or USER not in found[CONVERSATION].fields:
        return None
    return str(found[CONVERSATION].fields[USER].string_value)


def read_entry(entry: accesslog_pb2.HTTPAccessLogEntry) -> tuple[UsageKey, UsageTotals]:
    """Return whose request it was, which version answered it, and what it used."""
    target = parse_cluster(entry.common_properties.upstream_cluster)
    named = entry.request.request_headers.get(CLIENT_HEADER, "")[:_MAX_CLIENT]
    client = "" if named == ANONYMOUS else named
    key = UsageKey(client, target.model, target.version) if target is not None else UsageKey(client)
    duration = entry.common_properties.duration
    usage = UsageTotals(
        **{_outcome(entry): 1},
        received_bytes=clamp_count(entry.request.request_body_bytes),
        sent_bytes=clamp_count(entry.response.response_body_bytes),
        duration_s=clamp_real(duration.seconds + duration.nanos / 1e9, 0.0, MAX_COUNT),
    )
    return key, usage


def _found_no_room(entry: accesslog_pb2.HTTPAccessLogEntry) -> bool:
    """Whether a request was refused for want of room.

    That says nothing of the version.
    """
    answer = entry.response
    codes = (answer.response_trailers.get(GRPC_STATUS), answer.response_headers.get(GRPC_STATUS))
    return answer.response_code.value == _TOO_MANY or _EXHAUSTED in codes


def _outcome(entry: accesslog_pb2.HTTPAccessLogEntry) -> str:
    """Return the count of ``UsageTotals`` that a request belongs to."""
    flags, answer = entry.common_properties.response_flags, entry.response
    status = answer.response_code.value
    if flags.downstream_connection_termination or flags.downstream_remote_reset or not status:
        return "unanswered"
    if status >= _SERVER:
        return "server_errors"
    if status >= _CALLER:
        return "client_errors"
    # The status was sent before the end: a stream may have been cut since.
    if flags.upstream_connection_termination or flags.upstream_remote_reset or flags.stream_idle_timeout:
        return "server_errors"
    if _is_grpc(entry):
        code = answer.response_trailers.get(GRPC_STATUS) or answer.response_headers.get(GRPC_STATUS)
        return {_OK: "ok", _CANCELLED: "unanswered"}.get(
            code or "", "client_errors" if code in _CALLERS else "server_errors"
        )
    return "ok"


def _is_grpc(entry: accesslog_pb2.HTTPAccessLogEntry) -> bool:
    """Say whether the answer has a status of gRPC's.

    Not by what the caller says alone: an engine's HTTP takes requests whose type only begins like gRPC's (gRPC-Web).
    """
    if is_openai_cluster(entry.common_properties.upstream_cluster):
        return False
    return str(entry.request.request_headers.get(CONTENT_TYPE, "")).startswith(_GRPC)
