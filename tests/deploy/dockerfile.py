"""A Dockerfile as its instructions."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

_MOUNT = re.compile(r"^--mount=\S+\s+")
_OPTION = re.compile(r"^--[a-z-]+=\S+\s+")


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction.

    Attributes:
        stage: which stage it belongs to, from 1; 0: before the first.
        name: its name, in capitals.
        text: all behind it, on one line, options left out.
    """

    stage: int
    name: str
    text: str

    @property
    def words(self) -> list[str]:
        """The words of its exec form, or as a shell takes the text apart."""
        text = self.text.removeprefix("CMD ")
        return json.loads(text) if text.startswith("[") else shlex.split(text)


def read_dockerfile(path: Path) -> list[Instruction]:
    """Return the instructions of a file, its comments left out."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.lstrip().startswith("#")]
    found: list[Instruction] = []
    stage = 0
    for line in re.sub(r"\\\n\s*", " ", "\n".join(lines)).splitlines():
        name, _, text = line.strip().partition(" ")
        if not name:
            continue
        stage += name == "FROM"
        while _MOUNT.match(text) or (name == "HEALTHCHECK" and _OPTION.match(text)):
            text = text.partition(" ")[2].lstrip()
        found.append(Instruction(stage, name, text))
    return found
