"""What pictures, PDF pages, audio and video count for, by generation of the model and media resolution.

The source of each number is in the docstring next to it. What no page states is None here, and unknown in an estimate.
"""

from __future__ import annotations

import re
from typing import NamedTuple

#: The generation of models whose name has none: aliases such as ``gemini-flash-latest``.
NEWEST = (3, 8)
_VERSION = re.compile(r"(?:models/)?gemini-(\d+)(?:\.(\d+))?(?![\d.])")
_LEVELS = ("LOW", "MEDIUM", "HIGH", "ULTRA_HIGH")


class Range(NamedTuple):
    """Tokens: the expected number and its band, in thousandths."""

    low: int = 0
    tokens: int = 0
    high: int = 0

    def times(self, factor: float) -> Range:
        """So many of them."""
        return Range(round(self.low * factor), round(self.tokens * factor), round(self.high * factor))

    def plus(self, other: Range) -> Range:
        """Both together; the bands add up, as if all errors went the same way."""
        return Range(self.low + other.low, self.tokens + other.tokens, self.high + other.high)


NONE = Range()


class Size(NamedTuple):
    """What is known of a file: how long it plays, in seconds, or how many pages it has."""

    seconds: float | None = None
    pages: int | None = None


def generation(model: str) -> tuple[int, int] | None:
    """``gemini-2.5-flash`` is (2, 5); None if the name does not say it, as those of embedding models."""
    if found := _VERSION.match(model):
        return int(found[1]), int(found[2] or 0)
    return NEWEST if model.endswith("-latest") else None


def level(name: object) -> str:
    """The level of a media resolution: ``LOW``, ``MEDIUM``, ``HIGH``, ``ULTRA_HIGH``; empty if none is set."""
    level = name.removeprefix("MEDIA_RESOLUTION_") if isinstance(name, str) else ""
    return level if level in _LEVELS else ""


def _tokens(low: float, tokens: float, high: float) -> Range:
    return Range(round(low * 1000), round(tokens * 1000), round(high * 1000))


def _is_third(model: str) -> bool | None:
    """True for Gemini 3, False for what came before it, None if no rule is known."""
    version = generation(model)
    return None if version is None or version[0] > 3 else version[0] == 3


def picture(model: str, resolution: str = "") -> Range | None:
    """One picture of any size.

    Gemini 3: 280, 560, 1120 or 2240 by resolution, 1120 if none is set (ai.google.dev/gemini-api/docs/media-resolution,
    "approximate", a maximum; twelve pictures counted 12,973 with ``gemini-3.1-pro-preview``). Before: 64 if low; else
    256 and details up to about 2048 (the same page). ai.google.dev/gemini-api/docs/tokens says 258 for each tile;
    python-genai#1349 reports 258 at any size.
    """
    third = _is_third(model)
    if third is None:
        return None
    if third:
        most = {"LOW": 280, "MEDIUM": 560, "ULTRA_HIGH": 2240}.get(resolution, 1120)
        return _tokens(most / 2, most, most * 1.05)
    return {"LOW": _tokens(64, 66, 68), "MEDIUM": _tokens(256, 258, 260)}.get(resolution) or _tokens(256, 258, 2310)


def pdf_page(model: str, resolution: str = "") -> Range | None:
    """One page of a PDF.

    Gemini 3: 280, 560 or 1120 by resolution, 560 if none is set, to which the text of the page may be added; before:
    64 or 256, likewise (ai.google.dev/gemini-api/docs/media-resolution; the page on documents says 258).
    """
    third = _is_third(model)
    if third is None:
        return None
    pages = {"LOW": 280, "HIGH": 1120, "": 560} if third else {"LOW": 66, "": 258}
    page = pages.get(resolution, pages[""])
    return _tokens(page / 2, page, page + 1500)


def audio_second(model: str) -> Range | None:
    """One second of sound.

    Gemini 3: 25 (ai.google.dev/gemini-api/docs/media-resolution, October 2026); before: 32
    (ai.google.dev/gemini-api/docs/tokens, which says so of all models).
    """
    third = _is_third(model)
    return None if third is None else _tokens(25, 25, 32) if third else _tokens(32, 32, 32)


def video_second(model: str, resolution: str = "", frames: float = 1.0) -> Range | None:
    """One second of video with sound, at so many frames a second.

    A frame is 70 tokens in Gemini 3, 280 if the resolution is high; before, 258, or 66 if it is low
    (ai.google.dev/gemini-api/docs/media-resolution). Sound and time stamps are added: 263 a second are documented for
    frames and time stamps before Gemini 3 (ai.google.dev/gemini-api/docs/tokens).
    """
    third, sound = _is_third(model), audio_second(model)
    if third is None or sound is None:
        return None
    frames_of = {"HIGH": 280, "": 70} if third else {"LOW": 66, "": 258}
    frame = frames_of.get(resolution, frames_of[""])
    return _tokens(frame, frame + 5, frame + 10).times(frames).plus(Range(0, sound.tokens, sound.high))
