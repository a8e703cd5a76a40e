"""Announcements as events that callers follow."""

from __future__ import annotations

from echoplane.v1 import diagnostics_pb2
from echoplaned.core.effects import Announce
from echoplaned.core.errors import PageTokenInvalidError
from echoplaned.rpc.convert.common import timestamp
from echoplaned.rpc.paging import PageQuery, decode_token, encode_token

_QUERY = PageQuery("WatchEvents")


def event_to_pb(announce: Announce) -> diagnostics_pb2.ModelEvent:
    """Return an announcement as the API shows it."""
    return diagnostics_pb2.ModelEvent(
        resume_token=resume_token(announce.sequence),
        sequence=announce.sequence,
        time=timestamp(announce.time_s),
        subject=announce.subject,
        kind=announce.kind,
        text=announce.text,
    )


def resume_token(sequence: int) -> str:
    """Return the token that goes on after an event."""
    return encode_token(_QUERY, (sequence,))


def sequence_of(token: str) -> int:
    """Return the sequence number that a resume token names.

    Raises:
        PageTokenInvalidError: the token is not one of ours.
    """
    try:
        place = decode_token(_QUERY, token)
    except PageTokenInvalidError:
        raise resume_token_error() from None
    if len(place) != 1 or not isinstance(place[0], int) or place[0] < 0:
        raise resume_token_error()
    return place[0]


def resume_token_error() -> PageTokenInvalidError:
    """Return the error that a resume token is not known, or not known any more."""
    return PageTokenInvalidError("resume_token", "begin with what happens from now on")
