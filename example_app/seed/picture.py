"""Small pictures for products, drawn without any library."""

from __future__ import annotations

import struct
import zlib

WIDTH, HEIGHT = 240, 180


def picture(number: int) -> bytes:
    """A PNG with stripes whose colours depend on ``number``."""
    palette = [_colour(number * 47 + step * 23) for step in range(6)]
    rows = bytearray()
    for y in range(HEIGHT):
        rows.append(0)
        rows.extend(((x + y * (1 + number % 3)) // 30) % 6 for x in range(WIDTH))
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 3, 0, 0, 0)
    parts = ((b"IHDR", header), (b"PLTE", b"".join(palette)), (b"IDAT", zlib.compress(bytes(rows), 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in parts)


def _colour(seed: int) -> bytes:
    return bytes(90 + (seed * factor) % 140 for factor in (3, 5, 7))


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
