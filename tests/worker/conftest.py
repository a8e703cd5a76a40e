"""Fixtures of the worker's tests."""

from __future__ import annotations

from tests.models import checkpoints, minilm

__all__ = ["checkpoints", "minilm"]
