"""The composition root's part for the gateway: Envoy and the server it dials.

That server is on a socket that Envoy alone can open.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import grpc.aio

from echoplaned.core.errors import KeySecretUnusableError
from echoplaned.gateway.binary import EnvoyMissingError, find_envoy, read_envoy_version
from echoplaned.gateway.listening import check_free
from echoplaned.gateway.options import (
    CertificateRefusedError,
    GatewayOptions,
    SocketPathError,
    access_log,
    certificate_secret,
    control_socket,
)
from echoplaned.gateway.records import read_live
from echoplaned.gateway.supervisor import GatewaySupervisor
from echoplaned.ports.door_clients import DoorClientPublisher
from echoplaned.ports.gateway import GatewayState, GatewayStatus
from echoplaned.ports.keys import KeyTable
from echoplaned.ports.transcoding import TranscodedServices
from echoplaned.ports.usage import UsageReport
from echoplaned.security.api_socket import api_socket
from echoplaned.security.key_ring import KeyRing
from echoplaned.security.key_secret import KeySecretFile
from echoplaned.security.private_listener import PrivateListener
from echoplaned.settings import GatewayKeys, Settings, SettingsInvalidError, setting_violation
from echoplaned.xds.access_logs import AccessLogService
from echoplaned.xds.ads import AdsService
from echoplaned.xds.conversations import ConversationLedger
from echoplaned.xds.door.listener import DoorOptions, build_door_listener
from echoplaned.xds.lrs import LoadReportService
from echoplaned.xds.observer import XdsObserver
from echoplaned.xds.options import server_options
from echoplaned.xds.publisher import Publisher
from echoplaned.xds.usage_ledger import UsageLedger

if TYPE_CHECKING:
    from echoplaned.gateway.certificate_watch import CertificateWatch

_OWNER_ONLY: Final = 0o700
_RUNNING: Final = frozenset({GatewayState.STARTING, GatewayState.SERVING})
TLS_ADVICE: Final = "TLS needs the package `cryptography`: pip install 'echoplaned[tls]'"


def _nothing(_server: grpc.aio.Server) -> None:
    """Add no services."""


@dataclass(frozen=True, slots=True)
class FrontDoorParts:
    """What the gateway's server is made of.

    Attributes:
        publisher: holds what Envoy is served.
        observer: takes its load reports.
        monotonic: seconds that only go on.
        wall: seconds since the epoch, as the machine's clock has them: certificates are valid by it.
        usage: adds up what its callers use.
        save_usage: keeps that for the next daemon.
        conversations: counts requests of conversations.
        transcoded: what REST calls are answered with; None: there is no REST.
        add_services: adds those services to the server.
        max_message_bytes: largest request that Envoy may pass on.
    """

    publisher: Publisher
    observer: XdsObserver
    monotonic: Callable[[], float]
    wall: Callable[[], float]
    usage: UsageLedger
    save_usage: Callable[[UsageReport], None]
    conversations: ConversationLedger
    transcoded: TranscodedServices | None = None
    add_services: Callable[[grpc.aio.Server], None] = _nothing
    max_message_bytes: int = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class FrontDoor:
    """The gateway's two halves: the server on its own socket, and Envoy's supervisor.

    ``check`` comes first; ``start`` serves Envoy, ``run`` keeps it running, ``close`` leaves it running.

    Attributes:
        options: how Envoy is run.
        listener: what Envoy asks, on the gateway's own socket.
        ads: what Envoy is served.
        lrs: takes its load reports.
        supervisor: keeps it running.
        certificate: keeps its certificate that of a directory; None: it speaks without TLS.
        usage: adds up what its callers use.
        save_usage: keeps that for the next daemon.
    """

    options: GatewayOptions
    listener: PrivateListener
    ads: AdsService
    lrs: LoadReportService
    supervisor: GatewaySupervisor
    certificate: CertificateWatch | None
    usage: UsageLedger
    save_usage: Callable[[UsageReport], None]

    @classmethod
    def assemble(cls, settings: Settings, parts: FrontDoorParts) -> Self | None:
        """Wire it; None where no address is given.

        Raises:
            SettingsInvalidError: there is no Envoy, no room for its sockets' paths, or no certificate that it can serve with.
        """
        if settings.gateway_listen is None:
            return None
        options = find_gateway(settings)
        certificate = find_certificate(settings, parts.wall)
        listener = DoorOptions(
            settings.gateway_listen.host,
            settings.gateway_listen.port,
            access_log(settings.state_dir),
            parts.transcoded,
            keys_required=settings.gateway_keys is GatewayKeys.REQUIRED,
            certificate=certificate_secret(settings.state_dir) if certificate is not None else None,
            usage=True,
        )
        ads = AdsService(parts.publisher, door=build_door_listener(listener))
        lrs = LoadReportService(parts.observer, parts.monotonic, of_gateway=True)
        logs = AccessLogService(parts.usage, parts.conversations)
        channel: list[tuple[str, Any]] = [
            ("grpc.max_receive_message_length", parts.max_message_bytes),
            ("grpc.max_metadata_size", 32 * 1024),  # above what the gateway passes on
            *server_options(),
        ]
        server = grpc.aio.server(options=channel)
        server.add_generic_rpc_handlers((ads.handler(), lrs.handler(), logs.handler()))
        parts.add_services(server)
        prepare = partial(_prepare, settings.state_dir, certificate)
        private = PrivateListener(server, control_socket(settings.state_dir), prepare)
        supervisor = GatewaySupervisor(options, parts.monotonic)
        parts.publisher.expect_gateway(lambda: supervisor.status.state in _RUNNING)
        return cls(options, private, ads, lrs, supervisor, certificate, parts.usage, parts.save_usage)

    @property
    def status(self) -> GatewayStatus:
        """The gateway's state now."""
        status = self.supervisor.status
        return status if self.certificate is None else replace(status, certificate_expires_s=self.certificate.expires_s)

    @property
    def alarms(self) -> tuple[str, ...]:
        """What an operator should look at."""
        found = (self.supervisor.status.alarm, self.certificate.alarm if self.certificate is not None else "")
        return tuple(each for each in found if each)

    def check(self) -> None:
        """See whether the gateway can have its address, before anything is begun for it.

        Raises:
            AddressTakenError: another process has it.
        """
        if not any(record.listening == self.options.listening for record in read_live(self.options.state_dir)):
            check_free(self.options.listening)

    async def start(self) -> None:
        """Serve Envoy on its socket, or once the disk takes one.

        Raises:
            SettingsInvalidError: its certificate was changed since it was looked at, and cannot be served with.
        """
        await self.listener.open()

    async def run(self) -> None:
        """Keep Envoy running, its certificate new and its usage saved, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._run_envoy(), name="gateway-envoy")
            group.create_task(self.usage.run(self.save_usage), name="gateway-usage")
            if self.certificate is not None:
                group.create_task(self.certificate.run(), name="gateway-certificate")

    async def _run_envoy(self) -> None:
        # Without the daemon's socket a new Envoy would hear of nothing, and one that runs serves on.
        await self.listener.wait()
        await self.supervisor.run()

    async def close(self) -> None:
        """End the server and leave Envoy as it is: it serves on with what it has."""
        await self.supervisor.close()
        self.ads.close()
        self.lrs.close()
        await self.listener.server.stop(0.5)
        await self.usage.save(self.save_usage)


def find_gateway(settings: Settings) -> GatewayOptions:
    """Return how the settings ask for Envoy to be run.

    Raises:
        SettingsInvalidError: there is none, or no room for its sockets' paths.
    """
    try:
        control_socket(settings.state_dir)
        binary = find_envoy()
        version = read_envoy_version(binary)
    except (EnvoyMissingError, SocketPathError) as error:
        raise SettingsInvalidError(setting_violation("gateway_listen", str(error))) from error
    return GatewayOptions(
        settings.state_dir,
        str(settings.gateway_listen),
        binary,
        version,
        concurrency=settings.gateway_concurrency,
        max_connections=settings.gateway_max_connections,
        max_heap_bytes=settings.gateway_max_heap_bytes,
    )


def find_certificate(settings: Settings, wall: Callable[[], float]) -> CertificateWatch | None:
    """Return what keeps the gateway's certificate; None: no setting names one.

    Nothing is written yet.

    Raises:
        SettingsInvalidError: it cannot be served with, or the package for it is missing.
    """
    if settings.gateway_tls_dir is None:
        return None
    try:
        # Only here: who does without TLS does without the package.
        from echoplaned.gateway.certificate_watch import CertificateWatch, WatchedCertificate  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise SettingsInvalidError(setting_violation("gateway_tls_dir", TLS_ADVICE)) from error
    watched = WatchedCertificate(settings.gateway_tls_dir, certificate_secret(settings.state_dir))
    certificate = CertificateWatch(watched, wall)
    try:
        certificate.check()
    except CertificateRefusedError as error:
        raise _no_certificate(error) from error
    return certificate


def open_keys(settings: Settings, table: KeyTable, gateway: DoorClientPublisher, now: Callable[[], float]) -> KeyRing:
    """Return the keys, published to the gateway.

    Raises:
        SettingsInvalidError: the file that they are derived from is not to be used.
    """
    secret_file = KeySecretFile(settings.key_secret_file or settings.state_dir / "key-secret")
    required = settings.gateway_keys is GatewayKeys.REQUIRED
    keys = KeyRing(table, secret_file, gateway, now, required=required)
    try:
        keys.open()
    except KeySecretUnusableError as error:
        raise SettingsInvalidError(setting_violation("key_secret_file", str(error))) from error
    return keys


def find_api_socket(settings: Settings) -> Path | None:
    """Return the API's own socket; None: its path would be too long.

    A daemon whose gateway asks for no keys can do without.

    Raises:
        SettingsInvalidError: there is none, and keys could not be made.
    """
    socket = api_socket(settings.state_dir)
    if socket is None and settings.gateway_keys is GatewayKeys.REQUIRED:
        text = f"{settings.state_dir} is too long for the socket api.sock, and keys are made there alone: name a shorter path"
        raise SettingsInvalidError(setting_violation("state_dir", text))
    return socket


def _no_certificate(error: Exception) -> SettingsInvalidError:
    return SettingsInvalidError(setting_violation("gateway_tls_dir", str(error)))


def _prepare(state_dir: Path, certificate: CertificateWatch | None) -> None:
    """Write what Envoy needs before it calls.

    Folders of sockets and logs, for this user alone, and the file of its certificate.

    Raises:
        OSError: they cannot be written.
        SettingsInvalidError: the certificate was changed since it was looked at, and cannot be served with.
    """
    for folder in (control_socket(state_dir).parent, access_log(state_dir).parent):
        folder.mkdir(mode=_OWNER_ONLY, parents=True, exist_ok=True)
    control_socket(state_dir).parent.chmod(_OWNER_ONLY)
    if certificate is None:
        certificate_secret(state_dir).unlink(missing_ok=True)  # of a daemon with TLS
        return
    try:
        certificate.take()  # before Envoy hears of a listener that needs it
    except CertificateRefusedError as error:
        raise _no_certificate(error) from error
