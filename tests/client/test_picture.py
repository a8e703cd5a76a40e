"""A behaviour report as a picture."""

from __future__ import annotations

import math
import struct
import zlib

from echoplane.cli.picture import HEIGHT, LEGEND, WIDTH, png, sparkline
from echoplane.v1.rollouts_pb2 import BehaviourReport

REPORT = BehaviourReport(
    measure="KL", margin=0.004, ceiling=0.04, mean=0.02, text_distances=[0.0, 0.001, 0.05], log_e_path=[0.0, 3.0, 9.0]
)


def chunks(data: bytes) -> dict[bytes, bytes]:
    """Read a PNG file's chunks and check their sums."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    found, at = {}, 8
    while at < len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        kind, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        assert struct.unpack(">I", data[at + 8 + length : at + 12 + length])[0] == zlib.crc32(kind + body)
        found[kind] = body
        at += 12 + length
    return found


def test_the_picture_is_a_png() -> None:
    """The file has its size, its pixels and what they mean; a text beyond the margin is red, one within it blue."""
    found = chunks(png(REPORT, 0.002))
    assert struct.unpack(">II", found[b"IHDR"][:8]) == (WIDTH, HEIGHT)
    assert found[b"tEXt"].decode().endswith(LEGEND)
    pixels = zlib.decompress(found[b"IDAT"])
    assert len(pixels) == HEIGHT * (1 + 3 * WIDTH)
    row = pixels[(HEIGHT // 2 - 20) * (1 + 3 * WIDTH) + 1 :]
    colours = [tuple(row[3 * x : 3 * x + 3]) for x in (WIDTH // 2, WIDTH - 60)]
    assert colours[0][2] > colours[0][0]
    assert colours[1][0] > colours[1][2]


def test_an_empty_report_is_drawn_too() -> None:
    """Without a text or a pair there are only the axes."""
    assert b"IDAT" in chunks(png(BehaviourReport(), 0.002))


def test_sparklines() -> None:
    """The largest value is the highest block, infinity too; without values there is nothing."""
    assert sparkline([0.0, 1.0, 2.0]) == "▁▅█"
    assert sparkline([1.0, math.inf]) == "██"
    assert sparkline([0.0, 0.0]) == "▁▁"
    assert sparkline([]) == ""
