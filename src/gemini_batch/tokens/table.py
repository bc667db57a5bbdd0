"""Tokens of one of each class, in thousandths: low, expected, high. A fit wrote it (docs/tokens.md)."""

from __future__ import annotations

RATES = {
    "words": (466, 579, 879),
    "letters": (85, 107, 162),
    "capitals": (295, 367, 557),
    "digits": (796, 990, 1502),
    "numbers": (808, 1004, 1523),
    "marks": (118, 147, 224),
    "runs": (562, 699, 1061),
    "breaks": (806, 1002, 1520),
    "indents": (806, 1002, 1520),
    "latin": (1378, 1712, 2597),
    "greek": (231, 317, 404),
    "cyrillic": (155, 184, 217),
    "hebrew": (341, 439, 588),
    "arabic": (239, 285, 332),
    "devanagari": (218, 292, 365),
    "tamil": (321, 429, 537),
    "hangul": (403, 573, 789),
    "kana": (431, 574, 719),
    "han": (477, 616, 797),
    "signs": (634, 787, 1195),
    "emoji": (1621, 2013, 3055),
}
#: Of any character of a script that is not above.
UNMEASURED = (150, 700, 3000)
#: The JSON of declarations, calls and responses of functions, for a thousand tokens of it as text.
CALLS = (631, 790, 921)
#: The texts with recorded counts, by script.
MEASURED = {
    "latin": 30,
    "greek": 1,
    "cyrillic": 4,
    "hebrew": 2,
    "arabic": 2,
    "devanagari": 1,
    "tamil": 1,
    "hangul": 1,
    "kana": 1,
    "han": 1,
    "signs": 30,
    "emoji": 30,
}
#: The generations of the models with recorded counts.
GENERATIONS = frozenset({(2, 0), (2, 5), (3, 0), (3, 1)})
