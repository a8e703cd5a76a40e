"""Steps measured in a process of their own for each instruction set, as the matrix library reads its limit once.

``Runner`` starts such a process and asks it; the process itself is this module, run with ``-m``.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Final

from echoplaned.core.cpu_isa import VARIABLES, CpuIsa
from echoplaned.core.facts import Dtype
from echoplaned.planning.devices import host_isa

LIMITED: Final = (
    CpuIsa.AVX2,
    CpuIsa.AVX512_CORE,
    CpuIsa.AVX512_CORE_BF16,
    CpuIsa.AVX512_CORE_FP16,
    CpuIsa.AVX512_CORE_AMX,
)
"""Instruction sets that the variable can limit the library to, ascending."""
_START_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Case:
    """What to draw and measure.

    Attributes:
        architecture: the model's class.
        dtype: what weights are held in.
        stored: what they were stored in.
        seed: of the draw.
        padded: whether rows are of unequal length.
        threads: of the step.
    """

    architecture: str
    dtype: str
    stored: str
    seed: int
    padded: bool
    threads: int = 1


@dataclass(frozen=True, slots=True)
class Outcome:
    """A step's allocations beside its plan.

    Attributes:
        shape: what was drawn, for a person.
        bytes: planned.
        upper_bytes: planned at most.
        found: measured.
        verified: whether the plan calls itself equal to the byte.
    """

    shape: str
    bytes: int
    upper_bytes: int
    found: int
    verified: bool


def native_isa() -> CpuIsa:
    """Return what the library uses on this machine where nothing limits it."""
    return host_isa(_unlimited())


def possible() -> tuple[CpuIsa, ...]:
    """Return the instruction sets that this machine can take, ascending; its own alone where it is none of the known ones."""
    native = native_isa()
    return LIMITED[: LIMITED.index(native) + 1] if native in LIMITED else (native,)


def _unlimited() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in VARIABLES}


def environment(isa: CpuIsa) -> dict[str, str]:
    """Return the environment that limits the library to an instruction set; the machine's own needs none."""
    limit: Mapping[str, str] = {} if isa is native_isa() else {VARIABLES[0]: isa.value}
    return {**_unlimited(), **limit, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}


class Runner:
    """A process that measures under one instruction set."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.library = CpuIsa(self._read()["library"])

    def measure(self, case: Case) -> Outcome:
        """Draw a shape, plan it and run it.

        Raises:
            RuntimeError: the process ended.
        """
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(asdict(case)) + "\n")
        self._process.stdin.flush()
        return Outcome(**self._read())

    def _read(self) -> dict[str, object] | dict[str, str]:  # type: ignore[misc] - JSON
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):
                return json.loads(line)  # type: ignore[no-any-return] - what this module wrote
        raise RuntimeError(f"the measuring process ended with {self._process.wait()}")


@contextmanager
def runner(isa: CpuIsa) -> Iterator[Runner]:
    """Yield a process that measures under an instruction set of this machine."""
    command = [sys.executable, "-m", "benchmarks.allocator.activation_runs"]
    with subprocess.Popen(
        command,
        env=environment(isa),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            yield Runner(process)
        finally:
            assert process.stdin is not None
            process.stdin.close()
            process.wait(_START_S)


def _serve() -> None:
    """Answer cases from standard input until it ends."""
    import torch  # noqa: PLC0415 - a parent that only asks must not import it

    from benchmarks.allocator.activations import drawn, planned, random_model, row_ids, step_peak  # noqa: PLC0415 - as above
    from echoplaned.worker.cpu_isa import library_isa  # noqa: PLC0415 - as above

    isa = library_isa()
    print(json.dumps({"library": isa.value}), flush=True)
    for line in sys.stdin:
        case = Case(**json.loads(line))
        dtype, stored = Dtype(case.dtype), Dtype(case.stored)
        torch.set_num_threads(case.threads)
        torch.manual_seed(case.seed)
        shape = drawn(case.architecture, random.Random(case.seed), padded=case.padded)
        plan = planned(shape, (dtype, stored), isa, case.threads)
        found = step_peak(random_model(shape, dtype, stored), row_ids(shape))
        outcome = Outcome(str(shape), plan.bytes, plan.upper_bytes, found, plan.verified)
        print(json.dumps(asdict(outcome)), flush=True)


if __name__ == "__main__":
    _serve()
