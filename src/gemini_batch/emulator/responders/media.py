"""Small but valid media, made without any library: a PNG image, and PCM sound as long as speech would be."""

from __future__ import annotations

import array
import math
import struct
import sys
import zlib
from functools import lru_cache

#: 16-bit little-endian mono, as from the service's speech models.
SAMPLE_RATE = 24_000
AUDIO_TYPE = f"audio/L16;codec=pcm;rate={SAMPLE_RATE}"
_LONGEST_SIDE = 64
_SECONDS_A_CHARACTER = 0.02
_LONGEST_SECONDS = 20.0


def png(seed: int, aspect_ratio: str = "1:1") -> bytes:
    """A colour gradient of at most 64 by 64 pixels with the given aspect ratio; ``seed`` decides the colours."""
    width, height = _sides(aspect_ratio)
    return _png(seed % 1024, width, height)


@lru_cache(maxsize=64)
def _png(seed: int, width: int, height: int) -> bytes:
    red, green, blue = seed * 97 % 256, seed * 57 % 256, seed * 17 % 256
    rows = bytearray()
    for y in range(height):
        rows.append(0)  # no filter
        for x in range(width):
            rows += bytes((red, (green + 255 * x // width) % 256, (blue + 255 * y // height) % 256))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(rows), 6)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _sides(aspect_ratio: str) -> tuple[int, int]:
    wide, _, high = aspect_ratio.partition(":")
    try:
        across, down = int(wide), int(high)
    except ValueError:
        across, down = 1, 1
    if not (0 < across <= 100 and 0 < down <= 100):
        across, down = 1, 1
    longest = max(across, down)
    return max(1, _LONGEST_SIDE * across // longest), max(1, _LONGEST_SIDE * down // longest)


def seconds(text: str) -> float:
    """The length of the sound for a text in seconds: it grows with the text, up to 20 s."""
    return min(_LONGEST_SECONDS, 0.2 + len(text) * _SECONDS_A_CHARACTER)


def pcm(text: str, seed: int) -> bytes:
    """A soft tone as long as speech of the text, 24 kHz, 16 bit, mono; ``seed`` decides its pitch."""
    wave = _wave(60 + seed % 60)
    samples = round(seconds(text) * SAMPLE_RATE)
    return (wave * (samples * 2 // len(wave) + 1))[: samples * 2]


@lru_cache(maxsize=64)
def _wave(period: int) -> bytes:
    samples = array.array("h", (round(6000 * math.sin(2 * math.pi * n / period)) for n in range(period)))
    if sys.byteorder == "big":
        samples.byteswap()
    return samples.tobytes()
