"""The real daemon for what is fuzzed over gRPC, as the end-to-end tests have it."""

from __future__ import annotations

from tests.e2e.conftest import bytecode, made, own_system, start_load, start_system, system  # noqa: F401 - fixtures
