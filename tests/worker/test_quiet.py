"""What torch's libraries say to each other stays out of the outputs of workers and benchmarks, and nothing else does."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import pytest

from echoplaned.worker.log_filters import leave_out_enum_registrations
from tests.worker.live import stray_lines

ROOT = Path(__file__).parents[2]


def test_one_message_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    """Others of the same logger are heard; calling it twice is calling it once."""
    logger = logging.getLogger("torch.utils._pytree")
    leave_out_enum_registrations()
    leave_out_enum_registrations()
    assert len(logger.filters) == 1
    with caplog.at_level(logging.WARNING):
        logger.warning("%s is an Enum subclass and is now natively supported", int)
        logger.warning("%s is already registered", int)
    assert [record.getMessage() for record in caplog.records] == ["<class 'int'> is already registered"]


@pytest.mark.system
def test_a_benchmark_prints_its_own_lines_alone() -> None:
    """With the package, torch and torchao imported, as the benchmarks of the engine do, nothing was said."""
    program = "import benchmarks, torch, torchao.quantization, transformers.models.bert.modeling_bert"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=100, check=True
    )
    assert (done.stdout, done.stderr) == ("", "")


def test_a_stray_line_is_found() -> None:
    """What the tests of workers look for: lines that the worker did not write."""
    written = '{"event": "phase", "level": "info"}\nW1129 torch/utils/_pytree.py:646] an Enum subclass\n\n'
    assert stray_lines(written) == ["W1129 torch/utils/_pytree.py:646] an Enum subclass"]
