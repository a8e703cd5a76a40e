"""The protocol's transcripts. ``ECHOPLANE_REWRITE=1`` writes what happens into the files; read the difference."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.xds.xds_transcript import Player

FOLDER = Path(__file__).with_name("transcripts")
FILES = sorted(FOLDER.glob("*.txt"))


def replay(text: str) -> str:
    """Return the transcript as it comes out: comments and inputs as they are, outcomes anew."""
    player = Player()
    lines: list[str] = []
    for line in text.splitlines():
        if line.startswith("> "):
            lines.append(line)
            lines += [f"  {each}" for each in player.play(line[2:])]
        elif not line.startswith("  "):
            lines.append(line)
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_transcript(path: Path) -> None:
    """The transcript comes out as it is written."""
    written = path.read_text()
    played = replay(written)
    if os.environ.get("ECHOPLANE_REWRITE") == "1":
        path.write_text(played)
    else:
        assert played == written


def test_there_are_transcripts() -> None:
    """The folder was found."""
    assert len(FILES) >= 10
