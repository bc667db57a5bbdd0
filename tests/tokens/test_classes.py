"""What of a text is counted."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemini_batch.tokens.classes import ASCII, BREAK, CLASSES, SCRIPTS, count, plus

TEXTS = st.text(st.characters(exclude_categories=["Cs"])) | st.text('aB1 .\n\t"é日й', max_size=40)


def counted(text: str) -> dict[str, int]:
    return {name: number for name, number in zip(CLASSES, count(text.encode()), strict=True) if number}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("Hello world", {"words": 2, "letters": 10}),
        ("NASA", {"words": 1, "letters": 4, "capitals": 2}),
        ("in 2026", {"words": 1, "letters": 2, "digits": 4, "numbers": 1}),
        ("v2", {"words": 1, "letters": 1, "digits": 1}),
        ('{"a": [1]}', {"words": 1, "letters": 1, "digits": 1, "marks": 7, "runs": 4}),
        ("a\n\nb\n  c", {"words": 3, "letters": 3, "breaks": 2, "indents": 1}),
        ("a\tb", {"words": 2, "letters": 2}),
        ("cáfé", {"words": 1, "letters": 2, "latin": 2}),
        ("мир и мы", {"words": 3, "cyrillic": 6}),
        ("日本の人", {"words": 1, "han": 3, "kana": 1}),
        ("한국", {"words": 1, "hangul": 2}),
        ("«a»", {"words": 1, "letters": 1, "latin": 2}),
        ("“a” – €", {"words": 3, "letters": 1, "signs": 4}),
        ("🌡️", {"words": 1, "signs": 1, "emoji": 1}),
    ],
)
def test_counts(text: str, expected: dict[str, int]) -> None:
    assert counted(text) == expected


@pytest.mark.parametrize(
    ("letter", "script"),
    [
        ("ż", "latin"), ("ế", "latin"), ("ƒ", "latin"), ("ω", "greek"), ("ἀ", "greek"), ("ж", "cyrillic"),
        ("Ա", "armenian"), ("ք", "armenian"), ("א", "hebrew"), ("ת", "hebrew"), ("ع", "arabic"), ("ڃ", "arabic"),
        ("अ", "devanagari"), ("হ", "bengali"), ("ਅ", "gurmukhi"), ("અ", "gujarati"), ("ଅ", "oriya"), ("அ", "tamil"),
        ("అ", "telugu"), ("ಅ", "kannada"), ("അ", "malayalam"), ("අ", "sinhala"), ("ก", "thai"), ("ກ", "lao"),
        ("ཀ", "tibetan"), ("က", "burmese"), ("ა", "georgian"), ("አ", "ethiopic"), ("ក", "khmer"), ("ㄱ", "others"),
        ("가", "hangul"), ("힣", "hangul"), ("ᄀ", "hangul"), ("あ", "kana"), ("ヶ", "kana"), ("一", "han"),
        ("龥", "han"), ("㐀", "han"), ("、", "signs"), ("！", "signs"), ("→", "signs"), ("…", "signs"),
        ("😀", "emoji"), ("𠀀", "emoji"), ("ᚠ", "others"), ("ꀀ", "others"), ("\ufffd", "others"),
    ],
)  # fmt: skip
def test_scripts(letter: str, script: str) -> None:
    found = counted(letter * 3)
    assert {name: number for name, number in found.items() if name in SCRIPTS} == {script: 3}


def test_letters_of_the_great_alphabets_are_in_their_class() -> None:
    """Every letter of the Basic Multilingual Plane whose Unicode name begins with that of a class is in it."""
    names = {"CJK UNIFIED": "han", "HIRAGANA": "kana", "KATAKANA": "kana", "MYANMAR": "burmese"}
    names |= {name.upper(): name for name in SCRIPTS if name not in {"signs", "emoji", "others", "han", "kana"}}
    # Blocks for phonetics, old spellings and half-width forms, which are rare.
    rare = (
        (0x250, 0x380), (0x860, 0x900), (0x1080, 0x10A0), (0x1380, 0x13A0), (0x1C80, 0x1E00), (0x2000, 0x3041),
        (0x3130, 0x3190), (0x31C0, 0x3400), (0xA000, 0xABC0), (0xD7B0, 0xF900), (0xFB00, 0x10000),
    )  # fmt: skip
    seldom = {number for first, after in rare for number in range(first, after)}
    wrong = []
    for number in sorted(set(range(0x80, 0x10000)) - seldom):
        letter = chr(number)
        if unicodedata.category(letter) in {"Ll", "Lu", "Lo", "Mc"}:
            name = unicodedata.name(letter)
            script = next((script for start, script in names.items() if name.startswith(start)), None)
            if script is not None and counted(letter).get(script) != 1:
                wrong.append((name, script, counted(letter)))
    assert not wrong


@given(st.lists(TEXTS, max_size=6))
def test_counts_of_joined_texts_are_sums(texts: list[str]) -> None:
    total = tuple(0 for _ in CLASSES)
    for text in texts:
        total = plus(total, count(text.encode()))
    assert tuple(count(BREAK.join(text.encode() for text in texts))) == total


@given(TEXTS, TEXTS)
def test_no_count_falls_when_text_is_appended(text: str, more: str) -> None:
    before, after = count(text.encode()), count((text + more).encode())
    assert all(one <= two for one, two in zip(before, after, strict=True))


@given(TEXTS)
def test_every_character_beyond_ascii_is_in_one_class(text: str) -> None:
    found = count(text.encode())
    assert sum(found[len(ASCII) :]) == sum(not letter.isascii() for letter in text)
