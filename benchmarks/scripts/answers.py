"""What the emulator answers, as responders: ``--responder answers:small`` and the like.

``small`` makes output lines of about 250 bytes, ``large`` of about 10 kB, ``picture`` pictures of about a megabyte;
``echo`` says what was asked, so that each row can be compared with its answer.
"""

from __future__ import annotations

import base64
import functools
import random
import struct
import zlib
from typing import Any

_SENTENCE = "The quick brown fox jumps over the lazy dog, and walks on through the quiet wood to the river. "


def small(model: str, request: dict[str, Any]) -> dict[str, Any]:
    """A few words."""
    return _answer(model, [{"text": f"Number {len(str(request))} is of use."}])


def echo(model: str, request: dict[str, Any]) -> dict[str, Any]:
    """The prompt."""
    return _answer(model, [{"text": request["contents"][0]["parts"][0]["text"]}])


def large(model: str, request: dict[str, Any]) -> dict[str, Any]:
    """A hundred sentences."""
    prompt = request["contents"][0]["parts"][0]["text"]
    return _answer(model, [{"text": f"{prompt}\n{_SENTENCE * 101}"}])


def picture(model: str, request: dict[str, Any]) -> dict[str, Any]:
    """A picture of noise, always the same one."""
    del request
    return _answer(model, [{"inlineData": {"mimeType": "image/png", "data": _png()}}])


def _answer(model: str, parts: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "candidates": [{"content": {"role": "model", "parts": parts}, "finishReason": "STOP"}],
        "usageMetadata": {"promptTokenCount": 12, "candidatesTokenCount": 9, "totalTokenCount": 21},
        "modelVersion": model,
    }


@functools.cache
def _png() -> str:
    side, noise = 578, random.Random(7)
    rows = b"".join(b"\0" + noise.randbytes(3 * side) for _ in range(side))
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows, 1)),
        (b"IEND", b""),
    )
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    return base64.b64encode(b"\x89PNG\r\n\x1a\n" + body).decode()
