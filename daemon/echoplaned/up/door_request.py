"""One request to the gateway over HTTP/1.1, on the event loop."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping

import h11

from echoplaned.up.door import Door

_CHUNK = 64 * 1024
_MAX_BYTES = 8 * 1024 * 1024


async def post_json(door: Door, path: str, headers: Mapping[str, str], body: object) -> tuple[int, bytes]:
    """Send a body to the gateway; return the status and the answer's body.

    Nothing is sent before the gateway's certificate is believed, for the host that callers name.

    Raises:
        OSError: nobody listens, its certificate is not believed, or the connection broke.
    """
    if door.is_tls and door.context is None:
        raise ConnectionError(door.problem)
    name = door.host.strip("[]") if door.context is not None else None
    reader, writer = await asyncio.open_connection(*door.dialled, ssl=door.context, server_hostname=name)
    try:
        connection = h11.Connection(h11.CLIENT)
        data = json.dumps(body).encode()
        fields = {
            "Host": door.url.partition("//")[2],
            "Content-Type": "application/json",
            "Content-Length": str(len(data)),
            **headers,
        }
        request = h11.Request(method="POST", target=path, headers=list(fields.items()))
        for event in (request, h11.Data(data=data), h11.EndOfMessage()):
            writer.write(connection.send(event) or b"")
        await writer.drain()
        return await _read(connection, reader)
    except h11.ProtocolError as error:
        raise ConnectionError(str(error)) from error
    finally:
        writer.close()


async def _read(connection: h11.Connection, reader: asyncio.StreamReader) -> tuple[int, bytes]:
    status, found = 0, bytearray()
    while len(found) <= _MAX_BYTES:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await reader.read(_CHUNK))
        elif isinstance(event, h11.Response):
            status = event.status_code
        elif isinstance(event, h11.Data):
            found += event.data
        elif isinstance(event, h11.EndOfMessage | h11.ConnectionClosed):
            break
    return status, bytes(found)
