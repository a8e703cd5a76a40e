"""A behaviour report as a picture, for a terminal or for a page.

On a terminal it is a line of block characters, for a page a PNG file.

The PNG is written by hand with the standard library: two panels of bars and a line need forty lines, matplotlib would bring 40 MB.
It has no lettering; what the panels mean is in its text chunk, and printed beside it.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from echoplane.v1.rollouts_pb2 import BehaviourReport

WIDTH, HEIGHT = 800, 480
_MARGIN = 16
_BLOCKS = "▁▂▃▄▅▆▇█"
_WHITE, _GREY, _BLUE, _RED = (255, 255, 255), (190, 190, 190), (50, 100, 180), (200, 50, 40)

LEGEND = (
    "Above: mean distance of each golden text, in the report's unit, on a scale of square roots; red: the margin, and the texts beyond it. "
    "Below: logarithm of the live e-value after each pair; red: where it decides."
)


def sparkline(values: Sequence[float]) -> str:
    """Return values as block characters, the largest the highest; empty for none."""
    shown = [value if math.isfinite(value) else math.inf for value in values]
    top = max((value for value in shown if math.isfinite(value)), default=0.0)
    return "".join(_BLOCKS[_level(value, top)] for value in shown)


def _level(value: float, top: float) -> int:
    if math.isinf(value):
        return len(_BLOCKS) - 1
    return 0 if top <= 0.0 else max(0, min(len(_BLOCKS) - 1, int(value / top * (len(_BLOCKS) - 1) + 0.5)))


@dataclass(frozen=True, slots=True)
class _Panel:
    """A part of the picture, with the scale of its values.

    ``top`` and ``bottom`` are in pixels from the top; ``most`` is the value at its upper edge, and 0 is at its lower one.
    """

    top: int
    bottom: int
    most: float

    def row(self, value: float) -> int:
        """Return the row of a value."""
        part = min(1.0, max(0.0, value / self.most)) if self.most > 0.0 else 0.0
        return self.bottom - round(part * (self.bottom - self.top))


class _Canvas:
    """Pixels of three bytes."""

    def __init__(self) -> None:
        self._rows = [bytearray(_WHITE * WIDTH) for _ in range(HEIGHT)]

    def fill(self, left: int, top: int, right: int, bottom: int, colour: tuple[int, int, int]) -> None:
        """Fill a rectangle, its edges included, as far as it is on the canvas."""
        left, right = max(0, left), min(WIDTH - 1, right)
        for row in range(max(0, top), min(HEIGHT - 1, bottom) + 1):
            self._rows[row][3 * left : 3 * (right + 1)] = bytes(colour) * (right - left + 1)

    def png(self, text: str) -> bytes:
        """Return the file, with a text in it (PNG specification, sections 5 and 11)."""
        pixels = b"".join(b"\0" + bytes(row) for row in self._rows)
        chunks = (
            (b"IHDR", struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 2, 0, 0, 0)),
            (b"tEXt", b"Description\0" + text.encode("latin-1", "replace")),
            (b"IDAT", zlib.compress(pixels, 9)),
            (b"IEND", b""),
        )
        return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(report: BehaviourReport, alpha: float) -> bytes:
    """Return a picture of a report, as a PNG file.

    ``alpha``: where the live e-value decides, as 1 / alpha.
    """
    canvas = _Canvas()
    middle = HEIGHT // 2
    _distances(canvas, report, _MARGIN, middle - _MARGIN)
    _path(canvas, report, -math.log(alpha), middle + _MARGIN, HEIGHT - _MARGIN)
    return canvas.png(LEGEND)


def _distances(canvas: _Canvas, report: BehaviourReport, top: int, bottom: int) -> None:
    values = [min(value, report.ceiling) if report.ceiling else value for value in report.text_distances]
    panel = _Panel(top, bottom, math.sqrt(max([report.margin * 1.5, *values], default=1.0)))
    for (left, right), value in zip(_columns(len(values)), values, strict=True):
        colour = _RED if value > report.margin else _BLUE
        canvas.fill(left, panel.row(math.sqrt(max(0.0, value))), right, bottom, colour)
    canvas.fill(_MARGIN, bottom, WIDTH - _MARGIN, bottom, _GREY)
    if report.margin:
        line = panel.row(math.sqrt(report.margin))
        canvas.fill(_MARGIN, line, WIDTH - _MARGIN, line, _RED)


def _path(canvas: _Canvas, report: BehaviourReport, decides: float, top: int, bottom: int) -> None:
    values = list(report.log_e_path)
    panel = _Panel(top, bottom, max([decides * 1.2, *values]))
    for (left, right), value in zip(_columns(len(values)), values, strict=True):
        row = panel.row(value)
        canvas.fill(left, row - 1, right, row + 1, _BLUE)
    canvas.fill(_MARGIN, bottom, WIDTH - _MARGIN, bottom, _GREY)
    line = panel.row(decides)
    canvas.fill(_MARGIN, line, WIDTH - _MARGIN, line, _RED)


def _columns(count: int) -> Iterator[tuple[int, int]]:
    """Return left and right edge of each of so many bars."""
    room = WIDTH - 2 * _MARGIN
    for index in range(count):
        left = _MARGIN + index * room // count
        yield left, max(left, _MARGIN + (index + 1) * room // count - 2)
