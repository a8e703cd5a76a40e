"""TLS at the gateway with the real daemon, Envoy and engine: clients, rotation under load, and bad files.

One daemon with one engine serves all but the last.
"""

from __future__ import annotations

import contextlib
import http.client
import logging
import os
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import openai
import pytest
from google.protobuf import field_mask_pb2

from echoplane import Client
from echoplane.v1 import models_pb2
from echoplaned import __main__ as root
from echoplaned.testing import checkpoints
from echoplaned.testing.daemon import DaemonProcess, free_port
from tests.e2e import e2e_system as e
from tests.e2e.e2e_tls import HELLO, MODEL, MODELS, TlsCallers, TlsSystem
from tests.gateway.gateway_stage import CHAT, ask
from tests.gateway.tls_parts import DAY, copy_files, make_pki, serial_of, shown_serial, trusting

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

ROTATIONS = 20


@pytest.fixture(scope="module")
def door() -> Iterator[TlsSystem]:
    """Run a daemon with a gateway and a model; the paths of its sockets must be short."""
    with tempfile.TemporaryDirectory(prefix="ep-") as name:
        folder, port = Path(name).resolve(), free_port()
        models = folder / "models"
        models.mkdir()
        checkpoints.add_chat_template(checkpoints.make_decoder(models / "plain"), models / "chatting")
        pki = make_pki(folder / "pki")
        gateway = ("--gateway-listen", f"127.0.0.1:{port}", "--gateway-tls-dir", str(pki.folder / "door"))
        flags = (*gateway, "--gateway-concurrency", "1", "--standby-workers", "0")
        daemon = DaemonProcess(folder / "state", (models,), flags)
        try:
            daemon.start(300.0)
            system = TlsSystem(daemon, port, pki, trusting(pki.folder))
            with Client(daemon.address) as client:
                request = models_pb2.LoadModelRequest(
                    model_id=MODEL, version_id="v1", source_uri="file:chatting", context_length=64
                )
                client.wait(client.load_model(request), e.LOAD_S)
            e.eventually(lambda: answers(system), 60.0, "an answer through the gateway")
            yield system
        finally:
            daemon.clean()


def answers(door: TlsSystem) -> bool:
    """Whether the model answers."""
    with contextlib.suppress(OSError):
        return door.ask("POST", CHAT, HELLO).status == 200
    return False


def test_clients(door: TlsSystem) -> None:
    """openai, gRPC and curl, by HTTP/1.1 and HTTP/2, with the CA and nothing else; status says until when the certificate is valid."""
    http_client = openai.DefaultHttpxClient(verify=door.context, trust_env=False)
    with openai.OpenAI(base_url=f"https://localhost:{door.port}/v1", api_key="none", http_client=http_client) as client:
        assert client.chat.completions.create(**HELLO).choices  # type: ignore[call-overload]
        assert [model.id for model in client.models.list()] == [MODEL]
    assert door.infer() == "v1"
    if shutil.which("curl") is not None:
        for flag, version in (("--http1.1", "1.1"), ("--http2", "2")):
            line = [
                "curl",
                "-sS",
                "--fail",
                "--noproxy",
                "*",
                "--cacert",
                str(door.pki.folder / "ca" / "cert.pem"),
                flag,
            ]
            line += [
                "-o",
                os.devnull,
                "-w",
                "%{http_version} %{ssl_verify_result}",
                f"https://localhost:{door.port}/health",
            ]
            done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=60)
            assert done.stdout == f"{version} 0", done.stderr
    expires = door.status().gateway.certificate_expire_time.ToDatetime().timestamp()
    assert abs(expires - time.time()) < 2 * DAY.total_seconds()
    assert door.shown() == serial_of(door.folder)
    assert not door.alarm()


def test_what_is_refused(door: TlsSystem, tmp_path: Path) -> None:
    """Plain HTTP, TLS 1.1, HTTP/1.0, and a server of another CA: none gets an answer, and the next caller does."""
    with pytest.raises((http.client.HTTPException, OSError)):
        ask(door.listening, "GET", MODELS)
    # Below what this OpenSSL speaks by itself: at security level 0 it offers TLS 1.1, so that the server refuses and not the client.
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.load_verify_locations(str(door.pki.folder / "ca" / "cert.pem"))
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError, match=r"(?i)alert protocol version"):
        shown_serial(door.listening, old)
    with (
        socket.create_connection(("127.0.0.1", door.port), timeout=20) as raw,
        door.context.wrap_socket(raw, server_hostname="localhost") as tls,
    ):
        tls.sendall(b"GET /v1/models HTTP/1.0\r\n\r\n")
        assert tls.recv(100).startswith(b"HTTP/1.1 426 ")
    make_pki(tmp_path / "other")
    with pytest.raises(ssl.SSLCertVerificationError):
        shown_serial(door.listening, trusting(tmp_path / "other"))
    assert door.ask("GET", MODELS).status == 200


def test_rotation_under_load(door: TlsSystem) -> None:
    """Twenty new certificates, each shown to new connections in seconds: no request fails, none is cut, a stream stays, nothing drains."""
    pid = door.daemon.gateways()[0].pid
    serials = {door.shown()}
    with TlsCallers(door) as load:
        for _ in range(ROTATIONS):
            assert root.main(["pki", "rotate", "door", "--dir", str(door.pki.folder)]) == 0
            expected = serial_of(door.folder)
            e.eventually(lambda serial=expected: door.shown() == serial, 20.0, "the new certificate")  # type: ignore[misc]
            serials.add(expected)
        streamed = load.stream_bytes
        assert not load.failures
        announce(door)
        e.eventually(
            lambda: load.stream_bytes > streamed or load.failures, 30.0, "more of the stream that was open all the time"
        )
    assert not load.failures
    logging.getLogger(__name__).info("requests meanwhile: %s", load.counts)
    assert len(serials) == ROTATIONS + 1
    assert min(load.counts.values()) > 0, load.counts
    assert [each.pid for each in door.daemon.gateways()] == [pid]
    assert admin(door, "/stats?filter=listener_manager.listener_modified").endswith("listener_modified: 0\n")
    assert not door.alarm()


def announce(door: TlsSystem) -> None:
    """Let something happen that the event stream tells."""
    with Client(door.daemon.address) as client:
        mask = field_mask_pb2.FieldMask(paths=["aliases"])
        client.configure_model(models_pb2.ConfigureModelRequest(name=MODEL, aliases=["Org/Chat"], update_mask=mask))


def admin(door: TlsSystem, path: str) -> str:
    """Ask Envoy's administration."""
    (path_of,) = (door.daemon.state_dir / "gateway").glob("admin-*.sock")
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(20)
        connection.connect(str(path_of))
        connection.sendall(f"GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    if b"chunked" not in head.lower():
        return body.decode()
    text = b""
    while body:
        size, _, rest = body.partition(b"\r\n")
        text, body = text + rest[: int(size, 16)], rest[int(size, 16) + 2 :]
    return text.decode()


def damage_with_other_key(door: TlsSystem, work: Path) -> None:
    """Put another certificate's key there."""
    (door.folder / "key.pem").unlink()
    shutil.copyfile(make_pki(work / "swapped").folder / "door" / "key.pem", door.folder / "key.pem")


def damage_expired(door: TlsSystem, work: Path) -> None:
    """Put an expired pair there."""
    old = make_pki(work / "expired", time.time() - 10 * DAY.total_seconds())
    copy_files(old.folder / "door", door.folder)


def damage_half(door: TlsSystem, _: Path) -> None:
    """Put half a certificate there."""
    content = (door.folder / "cert.pem").read_bytes()
    (door.folder / "cert.pem").unlink()
    (door.folder / "cert.pem").write_bytes(content[: len(content) // 2])


def damage_missing(door: TlsSystem, _: Path) -> None:
    """Take both away."""
    for name in ("key.pem", "cert.pem"):
        (door.folder / name).unlink()


DAMAGES: dict[str, Callable[[TlsSystem, Path], None]] = {
    "is not the key of": damage_with_other_key,
    "expired at": damage_expired,
    "holds no whole certificate": damage_half,
    "cannot be read: No such file": damage_missing,
}


def test_bad_files_while_it_runs(door: TlsSystem, tmp_path: Path) -> None:
    """Whatever becomes of the files, the certificate before them serves on, after a crash of Envoy too; the alarm says why it is old."""
    before = door.shown()
    saved = {name: (door.folder / name).read_bytes() for name in ("key.pem", "cert.pem")}
    for said, damage in DAMAGES.items():
        damage(door, tmp_path)
        e.eventually(lambda words=said: words in door.alarm(), 20.0, f"an alarm: {said}")  # type: ignore[misc]
        assert door.shown() == before
        assert door.ask("GET", MODELS).status == 200
        for name, content in saved.items():
            (door.folder / name).unlink(missing_ok=True)
            (door.folder / name).write_bytes(content)
        e.eventually(lambda: not door.alarm(), 20.0, "the end of the alarm")
    damage_missing(door, tmp_path)
    e.eventually(lambda: bool(door.alarm()), 20.0, "an alarm")
    os.kill(door.daemon.gateways()[0].pid, signal.SIGKILL)
    e.eventually(lambda: answers(door), 60.0, "an answer after the crash")
    assert door.shown() == before
    # The same directory made new, as a person would: the PKI knows it no more, the gateway takes what is there.
    shutil.rmtree(door.folder)
    hosts = ["--dns", "localhost", "--ip", "127.0.0.1"]
    assert root.main(["pki", "issue", "door", "--role", "gateway", *hosts, "--dir", str(door.pki.folder)]) == 0
    fresh = serial_of(door.folder)
    e.eventually(lambda: door.shown() == fresh, 20.0, "the new certificate")
    e.eventually(lambda: not door.alarm(), 20.0, "the end of the alarm")


def test_no_key_is_told(door: TlsSystem) -> None:
    """No private key is in a log or in what Envoy tells of itself; where it is kept, only this user reads it."""
    secret = door.daemon.state_dir / "gateway" / "certificate.json"
    assert secret.stat().st_mode & 0o777 == 0o600
    lines = [line for line in (door.folder / "key.pem").read_text().splitlines() if "PRIVATE" not in line]
    told = [admin(door, "/config_dump"), admin(door, "/certs"), door.daemon.tail(1_000_000)]
    told += [path.read_text(errors="replace") for path in (door.daemon.state_dir / "logs").iterdir() if path.is_file()]
    assert all(line in secret.read_text() for line in lines)
    assert not [line for line in lines for text in told if line in text]


def chats(door: TlsSystem) -> int:
    """Return how many chats the daemon says were answered well."""
    with Client(door.daemon.address) as client:
        found = client.get_usage(MODEL)
        assert all(each.version == f"models/{MODEL}/versions/v1" for each in found.usages)
        return sum(each.ok_count for each in found.usages)


def test_usage_is_told(door: TlsSystem) -> None:
    """What was asked is counted within seconds, and goes on after a daemon that ended well."""
    e.eventually(lambda: chats(door), 20.0, "the first chats")
    e.pause(3.0)  # what was under way is told by then
    before = chats(door)
    for _ in range(5):
        assert door.ask("POST", CHAT, HELLO).status == 200
    e.eventually(lambda: chats(door) == before + 5, 20.0, "five more")
    assert door.daemon.stop() == 0
    door.daemon.start(300.0)
    assert chats(door) == before + 5


def test_the_next_daemon_adopts_it(door: TlsSystem) -> None:
    """The gateway serves on without the daemon, and the next daemon takes a certificate that was renewed meanwhile."""
    pid = door.daemon.gateways()[0].pid
    door.daemon.kill()
    assert door.ask("POST", CHAT, HELLO).status == 200
    assert root.main(["pki", "rotate", "door", "--dir", str(door.pki.folder)]) == 0
    renewed = serial_of(door.folder)
    door.daemon.start(300.0)
    e.eventually(lambda: door.shown() == renewed, 30.0, "the new certificate")
    assert door.ask("POST", CHAT, HELLO).status == 200
    assert [each.pid for each in door.daemon.gateways()] == [pid]


def test_other_settings_replace_envoy(door: TlsSystem) -> None:
    """A hot restart takes the certificate along: new connections never fail, and are shown the same one."""
    pid, serial = door.daemon.gateways()[0].pid, door.shown()
    assert door.daemon.stop() == 0
    door.daemon.extra = tuple("2" if each == "1" else each for each in door.daemon.extra)
    failed: list[int] = []
    stop = threading.Event()

    def call() -> None:
        while not stop.is_set():
            answer = door.ask("GET", "/v1/nothing")
            if answer.status != 400:  # by the gateway itself, whether or not the daemon is there
                failed.append(answer.status)

    calling = threading.Thread(target=call)
    calling.start()
    try:
        door.daemon.start(300.0)
        e.eventually(lambda: pid != newest(door), 60.0, "another Envoy")
        e.eventually(lambda: door.ask("POST", CHAT, HELLO).status == 200, 60.0, "an answer")
    finally:
        stop.set()
        calling.join()
    assert not failed
    assert door.shown() == serial


def newest(door: TlsSystem) -> int:
    """Return the process of the Envoy that serves."""
    return door.status().gateway.pid or door.daemon.gateways()[0].pid


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("missing", "cannot be read: No such file"),
        ("swapped", "is not the key of the certificate"),
        ("expired", "expired at"),
        ("half", "holds no whole certificate"),
    ],
)
def test_it_does_not_start_with_bad_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: str, said: str
) -> None:
    """Exit code 2 with the file, what is wrong and the flag, from ``check`` and from ``serve``, before anything runs."""
    began = time.time() - (10 * DAY.total_seconds() if damage == "expired" else 0)
    folder = tmp_path / "tls"
    copy_files(make_pki(tmp_path / "pki", began).folder / "door", folder)
    if damage == "missing":
        (folder / "key.pem").unlink()
    if damage == "swapped":
        shutil.copyfile(make_pki(tmp_path / "other").folder / "door" / "key.pem", folder / "key.pem")
    if damage == "half":
        (folder / "cert.pem").write_bytes((folder / "cert.pem").read_bytes()[:300])
    flags = ["--gateway-listen", f"127.0.0.1:{free_port()}", "--gateway-tls-dir", str(folder)]
    with tempfile.TemporaryDirectory(prefix="ep-") as state:
        for command in ("check", "serve"):
            assert root.main([command, *flags, "--state-dir", f"{state}/s"]) == 2
            told = capsys.readouterr().err
            assert said in told
            assert "--gateway-tls-dir" in told
