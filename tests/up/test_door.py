"""The gateway behind TLS: what believes its certificate, what is printed, and that no key leaves without it."""

from __future__ import annotations

import asyncio
import contextlib
import shlex
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from echoplaned.up import Guide, PreparedUp
from echoplaned.up.door import Door, find_tls_door
from echoplaned.up.next_calls import NextCalls, next_calls
from tests.gateway.tls_parts import copy_files, make_pki

KEY = {"Authorization": "Bearer ep_1_secret"}
ANSWER = b'{"choices": [{"message": {"content": "Paris"}}]}'


@contextlib.asynccontextmanager
async def serving(folder: Path | None, got: bytearray) -> AsyncIterator[str]:
    """Answer chats with the certificate in a folder; note what callers send. None: a plain port."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError), contextlib.closing(writer):
            while chunk := await reader.read(65536):
                got.extend(chunk)
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(ANSWER), ANSWER))
        done.set()

    context, done = None, asyncio.Event()
    if folder is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        with contextlib.suppress(TimeoutError):  # no handshake, no caller
            await asyncio.wait_for(done.wait(), 0.2)
        await asyncio.sleep(0.05)  # transports close on the loop


async def ask(door: Door, calls: NextCalls) -> str:
    """Have the guide ask the model; return what it says."""
    lines: list[str] = []
    guide = Guide(Path("/unused"), PreparedUp({}, None, (), Path("/unused")), lines.append)
    await guide._ask(door, calls)
    (line,) = lines
    return line


def calls_of(door: Door) -> NextCalls:
    """Return calls with a key."""
    ca_file = str(door.ca_file or "")
    return NextCalls("m", "GENERATION", "a:1", door=door.url, ca_file=ca_file, resolve=door.resolve, headers=KEY)


def make_self_signed(folder: Path, name: str) -> Path:
    """Make a certificate that is its own issuer."""
    folder.mkdir()
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
    made = made.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    pem = serialization.Encoding.PEM
    (folder / "cert.pem").write_bytes(made.sign(key, hashes.SHA256()).public_bytes(pem))
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "key.pem").write_bytes(secret)
    return folder


async def test_the_ca_beside_the_certificate_is_believed(tmp_path: Path) -> None:
    """The model answers by TLS, and the printed curl and client name https and the CA; curl works as it is."""
    make_pki(tmp_path / "pki")
    got = bytearray()
    async with serving(tmp_path / "pki/door", got) as listening:
        door = await find_tls_door(listening, tmp_path / "pki/door")
        assert (door.url, door.ca_file, door.problem) == (f"https://{listening}", tmp_path / "pki/door/ca.pem", "")
        calls = calls_of(door)
        assert "first answer: 'Paris'" in await ask(door, calls)
        assert b"ep_1_secret" in got
        (_, curl), (_, openai), _ = next_calls(calls)
        assert f"curl -sS https://{listening}/v1/chat/completions --cacert {door.ca_file}" in curl
        assert f'ssl.create_default_context(cafile="{door.ca_file}")' in openai
        compile(shlex.split(openai)[-1], "printed", "exec")
        assert "http://" not in curl + openai
        await typed(curl)


async def test_a_certificate_that_is_its_own_issuer_is_believed_for_its_name(tmp_path: Path) -> None:
    """It names neither the address nor localhost: curl is told where that name is."""
    folder = make_self_signed(tmp_path / "tls", "door.example.org")
    async with serving(folder, bytearray()) as listening:
        door = await find_tls_door(listening, folder)
        port = listening.rpartition(":")[2]
        assert (door.url, door.ca_file) == (f"https://door.example.org:{port}", folder / "cert.pem")
        assert "first answer: 'Paris'" in await ask(door, calls_of(door))
        (_, curl), (what, _), _ = next_calls(calls_of(door))
        assert f"--resolve door.example.org:{port}:127.0.0.1" in curl
        assert "door.example.org must lead to this machine" in what
        await typed(curl)


@pytest.mark.parametrize("is_known", [True, False])
async def test_what_nothing_believes_gets_no_key(tmp_path: Path, is_known: bool) -> None:
    """A CA that is not there, or a directory that is not known: one line, no request, and https in what is printed."""
    make_pki(tmp_path / "pki")
    copy_files(tmp_path / "pki/door", tmp_path / "tls")
    got = bytearray()
    async with serving(tmp_path / "tls", got) as listening:
        door = await find_tls_door(listening, tmp_path / "tls" if is_known else None)
        assert "the model is not asked: nothing here verifies the gateway's certificate (unable to get" in await ask(
            door, calls_of(door)
        )
        assert (door.url, door.ca_file) == (f"https://{listening}", None)
    assert not got


async def test_another_server_or_a_plain_port_gets_no_key(tmp_path: Path) -> None:
    """Whoever took the address since the handshake: the request is not sent."""
    make_pki(tmp_path / "pki")
    make_pki(tmp_path / "other")
    async with serving(tmp_path / "pki/door", bytearray()) as listening:
        door = await find_tls_door(listening, tmp_path / "pki/door")
    got = bytearray()
    async with serving(tmp_path / "other/door", got) as listening:
        moved = replace(door, listening=listening)
        assert "certificate verify failed" in await ask(moved, calls_of(moved))
    assert not got
    async with serving(None, got) as listening:
        with pytest.raises(ssl.SSLError):
            await find_tls_door(listening, tmp_path / "pki/door")
    assert b"ep_1_secret" not in got


async def typed(curl: str) -> None:
    """Type a line, where there is a curl."""
    if shutil.which("curl") is None:
        return
    words = [*shlex.split(curl), "--noproxy", "*"]
    done = await asyncio.to_thread(subprocess.run, words, capture_output=True, check=False, timeout=60)
    assert done.stdout == ANSWER, done.stderr
