"""The command on terminals that cannot show everything, and in other places of the world."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from echoplane.inference import grpc_service_pb2 as oip

COMMAND = str(Path(sys.executable).with_name("echoplane"))
LONG = oip.ModelInferResponse(
    outputs=[
        {"name": "embedding", "datatype": "FP32", "shape": [1, 30], "contents": {"fp32_contents": [0.123456] * 30}}
    ]
)


@pytest.mark.parametrize(
    ("variables", "ending"),
    [
        ({"PYTHONIOENCODING": "utf-8"}, "…"),
        ({"PYTHONIOENCODING": "ascii"}, "?"),
        ({"PYTHONIOENCODING": "latin-1"}, "?"),
        ({"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, "?"),
        ({"LC_ALL": "tr_TR.UTF-8", "TZ": "Asia/Kolkata", "PYTHONUTF8": "1"}, "…"),
    ],
)
def test_what_a_terminal_has_not_is_a_question_mark(daemon: Any, variables: dict[str, str], ending: str) -> None:
    """An answer is printed by any encoding; the one character that it lacks is replaced."""
    daemon.on("ModelInfer", LONG)
    done = subprocess.run(
        [COMMAND, "infer", "minilm", "a text", "--target", daemon.address],
        env={**os.environ, **variables},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode("utf-8").rstrip().endswith(ending)
