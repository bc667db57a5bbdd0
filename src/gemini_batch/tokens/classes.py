"""What of a text is counted: classes of ASCII, by their effect on tokens, and the scripts of everything else.

All of it is sums over bytes. So counts of texts can be added, and many texts are counted as one.
"""

from __future__ import annotations

from operator import add
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

#: Runs of letters of any script; ASCII letters; pairs of capitals; digits; numbers after a space; marks (all other
#: printable ASCII); runs of marks; runs of line feeds; lines that begin with white space.
ASCII = ("words", "letters", "capitals", "digits", "numbers", "marks", "runs", "breaks", "indents")
#: Characters outside ASCII. ``latin`` is letters with diacritics and the signs of Latin-1, ``signs`` all other
#: punctuation and symbols, ``emoji`` everything beyond the Basic Multilingual Plane.
SCRIPTS = (
    "latin", "greek", "cyrillic", "armenian", "hebrew", "arabic", "devanagari", "bengali", "gurmukhi", "gujarati",
    "oriya", "tamil", "telugu", "kannada", "malayalam", "sinhala", "thai", "lao", "tibetan", "burmese", "georgian",
    "ethiopic", "khmer", "hangul", "kana", "han", "signs", "emoji", "others",
)  # fmt: skip
CLASSES = ASCII + SCRIPTS
NOTHING = (0,) * len(CLASSES)

#: Stands between texts that are counted as one. It belongs to no class.
BREAK = b"\x00"

_AT = {name: at for at, name in enumerate(CLASSES)}


def _table(other: str, **classes: Iterable[int]) -> bytes:
    """A table for ``bytes.translate``: each byte as the character of its class, or as ``other``."""
    table = bytearray(other.encode() * 256)
    for character, members in classes.items():
        for byte in members:
            table[byte] = ord(character)
    return bytes(table)


_UPPER, _DIGITS = range(65, 91), range(48, 58)
_LETTERS = bytes([*_UPPER, *range(97, 123)])
_MARKS = bytes(byte for byte in range(33, 127) if byte not in {*_LETTERS, *_DIGITS})
_BEYOND = range(128, 256)
_NOT_FIRST = bytes(range(0xC0))
_WORDS = _table(" ", w=[*_LETTERS, *_BEYOND])
_SHAPES = _table("x", A=_UPPER, n=_DIGITS, s=b" ")
_RUNS = _table(" ", m=_MARKS)

#: The script of a character, by the first byte of its UTF-8.
_FIRST: dict[int, str] = {
    **dict.fromkeys(range(0xC2, 0xCC), "latin"),
    **dict.fromkeys((0xCE, 0xCF), "greek"),
    **dict.fromkeys(range(0xD0, 0xD4), "cyrillic"),
    0xD5: "armenian",
    0xD7: "hebrew",
    **dict.fromkeys(range(0xD8, 0xDC), "arabic"),
    0xE2: "signs",
    **dict.fromkeys(range(0xE4, 0xEA), "han"),
    **dict.fromkeys((0xEB, 0xEC, 0xED), "hangul"),
    **dict.fromkeys(range(0xF0, 0xF5), "emoji"),
}
_INDIC = SCRIPTS[SCRIPTS.index("devanagari") : SCRIPTS.index("thai")]
#: By the first byte, and ranges of the second one.
_SECOND: dict[int, list[tuple[range, str]]] = {
    0xD4: [(range(0xB0, 0xC0), "armenian"), (range(0x80, 0xB0), "cyrillic")],
    0xDD: [(range(0x90, 0xC0), "arabic")],
    0xD6: [(range(0x90, 0xC0), "hebrew"), (range(0x80, 0x90), "armenian")],
    0xE0: [
        *((range(0xA4 + 2 * at, 0xA6 + 2 * at), name) for at, name in enumerate(_INDIC)),
        (range(0xB8, 0xBA), "thai"),
        (range(0xBA, 0xBC), "lao"),
        (range(0xBC, 0xC0), "tibetan"),
    ],
    0xE1: [
        (range(0xB8, 0xBC), "latin"),
        (range(0xBC, 0xC0), "greek"),
        (range(0x80, 0x82), "burmese"),
        (range(0x82, 0x84), "georgian"),
        (range(0x84, 0x88), "hangul"),
        (range(0x88, 0x8F), "ethiopic"),
        (range(0x9E, 0xA0), "khmer"),
    ],
    0xE3: [(range(0x81, 0x84), "kana"), (range(0x80, 0x81), "signs"), (range(0x90, 0xC0), "han")],
    0xEA: [(range(0xB0, 0xC0), "hangul")],
    0xEF: [(range(0xBC, 0xBE), "signs"), (range(0xB8, 0xBA), "signs")],
}
_PAIRS = {
    first: [(bytes((first, second)), _AT[name]) for seconds, name in ranges for second in seconds]
    for first, ranges in _SECOND.items()
}


def count(text: bytes) -> list[int]:
    """The counts of a text in UTF-8, in the order of ``CLASSES``.

    Texts with ``BREAK`` between them have the sum of their counts.
    """
    counts = list(NOTHING)
    words, shapes, runs = text.translate(_WORDS), text.translate(_SHAPES), text.translate(_RUNS)
    counts[: len(ASCII)] = (
        words.count(b" w") + words.startswith(b"w"),
        len(text) - len(text.translate(None, _LETTERS)),
        shapes.count(b"AA"),
        shapes.count(b"n"),
        shapes.count(b"sn"),
        runs.count(b"m"),
        runs.count(b" m") + runs.startswith(b"m"),
        *_lines(text),
    )
    if not text.isascii():
        _count_scripts(text, counts)
    return counts


def _lines(text: bytes) -> tuple[int, int]:
    """Runs of line feeds, and lines that begin with white space."""
    feeds = text.count(b"\n")
    return (feeds - text.count(b"\n\n"), text.count(b"\n ") + text.count(b"\n\t")) if feeds else (0, 0)


def _count_scripts(text: bytes, counts: list[int]) -> None:
    firsts = text.translate(None, _NOT_FIRST)
    for first in range(0xC2, 0xF5):
        here = firsts.count(first)
        if not here:
            continue
        if name := _FIRST.get(first):
            counts[_AT[name]] += here
            continue
        for pair, at in _PAIRS.get(first, ()):
            found = text.count(pair)
            counts[at] += found
            here -= found
            if not here:
                break
        counts[_AT["others"]] += here


def plus(one: Sequence[int], other: Sequence[int]) -> tuple[int, ...]:
    """Two counts added, class by class."""
    return tuple(map(add, one, other))
