"""Verdicts as a user names them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini_batch.answers.reasons import VERDICTS
from gemini_batch.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence


def parse_verdicts(words: Sequence[str], *, field: str, what: str, but: str | None = None) -> tuple[str, ...]:
    """Verdicts from words that may be lists with commas, each verdict once.

    ``what`` completes the sentence that refuses a word; ``but`` is a verdict that is refused as well. Raises UsageError
    that names ``field``.
    """
    chosen = tuple(dict.fromkeys(word.strip() for part in words for word in part.split(",") if word.strip()))
    allowed = [verdict for verdict in VERDICTS if verdict != but]
    for word in chosen:
        if word not in allowed:
            raise UsageError(
                f"{word!r} is not a verdict{what}.",
                field=field,
                code="bad_argument",
                next=f"Choose from {', '.join(allowed)}.",
            )
    return chosen
