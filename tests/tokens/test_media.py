"""What media count for, by the documented tables."""

from __future__ import annotations

import pytest

from gemini_batch.catalog import load
from gemini_batch.tokens import media
from gemini_batch.tokens.media import Range, Size, generation

THIRD, BEFORE, LATER = "gemini-3.8-flash", "gemini-2.5-flash", "gemini-4-argon"


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("gemini-2.5-flash", (2, 5)), ("models/gemini-3-flash-preview", (3, 0)), ("gemini-3.1-pro-preview", (3, 1)),
        ("gemini-4-argon", (4, 0)), ("gemini-flash-latest", media.NEWEST), ("gemini-embedding-001", None),
        ("gemini-embedding-2", None), ("nano-banana-pro-preview", None), ("", None), ("gemini-12.34.5-x", None),
    ],
)  # fmt: skip
def test_generations(model: str, expected: tuple[int, int] | None) -> None:
    assert generation(model) == expected


def test_the_newest_generation_is_that_of_the_catalog() -> None:
    versions = [
        version for name, model in load().models.items() if model.kind == "text" and (version := generation(name))
    ]
    assert max(version for version in versions if version[0] == media.NEWEST[0]) == media.NEWEST


@pytest.mark.parametrize(
    ("resolution", "tokens"), [("", 1120), ("LOW", 280), ("MEDIUM", 560), ("HIGH", 1120), ("ULTRA_HIGH", 2240)]
)
def test_pictures_of_gemini_3(resolution: str, tokens: int) -> None:
    found = media.picture(THIRD, resolution)
    assert found is not None
    assert found.tokens == tokens * 1000
    assert found.low < found.tokens < found.high


def test_twelve_pictures_that_were_counted_are_in_the_band() -> None:
    found = media.picture("gemini-3.1-pro-preview")
    assert found is not None
    assert found.low * 12 <= 12_973_000 <= found.high * 12


@pytest.mark.parametrize(("resolution", "low", "high"), [("", 256, 2310), ("LOW", 64, 68), ("MEDIUM", 256, 260)])
def test_pictures_before_gemini_3(resolution: str, low: int, high: int) -> None:
    found = media.picture(BEFORE, resolution)
    assert found is not None
    assert (found.low, found.high) == (low * 1000, high * 1000)


@pytest.mark.parametrize(
    ("found", "tokens"),
    [
        (media.pdf_page(THIRD), 560), (media.pdf_page(THIRD, "LOW"), 280), (media.pdf_page(THIRD, "HIGH"), 1120),
        (media.pdf_page(BEFORE), 258), (media.pdf_page(BEFORE, "LOW"), 66),
        (media.audio_second(THIRD), 25), (media.audio_second(BEFORE), 32),
        (media.video_second(THIRD), 70 + 5 + 25), (media.video_second(THIRD, "HIGH"), 280 + 5 + 25),
        (media.video_second(THIRD, frames=2), 2 * 75 + 25), (media.video_second(BEFORE), 263 + 32),
        (media.video_second(BEFORE, "LOW"), 66 + 5 + 32),
    ],
)  # fmt: skip
def test_the_rest_of_the_tables(found: Range | None, tokens: int) -> None:
    assert found is not None
    assert found.tokens == tokens * 1000
    assert found.low <= found.tokens <= found.high


@pytest.mark.parametrize("model", [LATER, "gemini-embedding-2"])
def test_what_no_page_states_is_unknown(model: str) -> None:
    assert media.picture(model) is media.pdf_page(model) is None
    assert media.audio_second(model) is media.video_second(model) is None


@pytest.mark.parametrize(
    ("name", "expected"),
    [("MEDIA_RESOLUTION_LOW", "LOW"), ("MEDIA_RESOLUTION_UNSPECIFIED", ""), ("", ""), (None, ""), (3, "")],
)
def test_levels(name: object, expected: str) -> None:
    assert media.level(name) == expected


def test_a_size_says_what_is_known() -> None:
    assert Size() == (None, None)
