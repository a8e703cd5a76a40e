"""The core's behaviour as transcripts: each file in ``transcripts`` is a story of events and their effects.

``echoplaned.testing.transcript`` says how one is written.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from echoplaned.testing.transcript import Transcript

FOLDER = Path(__file__).with_name("transcripts")


def replay(text: str) -> str:
    """Return the transcript with what the core really does under each event; comments and blank lines stay."""
    transcript = Transcript()
    lines: list[str] = []
    for line in text.splitlines():
        if line.startswith("given "):
            transcript.prepare(line.removeprefix("given "))
        if line.startswith("> "):
            lines.append(line)
            lines += [f"  {told}" for told in transcript.play(line[2:])]
        elif not line.startswith("  "):
            lines.append(line)
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.txt")), ids=lambda path: path.stem)
def test_transcript(path: Path, rewrite: bool) -> None:
    """Every event of the story has exactly the effects that are written under it."""
    text = path.read_text(encoding="utf-8")
    told = replay(text)
    if rewrite:
        path.write_text(told, encoding="utf-8")
    assert told == (told if rewrite else text)
