"""The recorded counts: prompts that others sent, with the number of tokens that the service answered."""

from __future__ import annotations

import hashlib
import json
import lzma
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from gemini_batch.tokens.classes import CLASSES, NOTHING, SCRIPTS, count
from gemini_batch.tokens.media import generation
from gemini_batch.tokens.requests import Tally, tally

FOLDER = Path(__file__).parents[2] / "tests" / "tokens"
#: Texts whose length differs by more than this from what was counted serve the fit only.
EXACT = 0.01


@dataclass(frozen=True, slots=True)
class Record:
    """One prompt: what of it is counted, and what the service counted."""

    source: str
    model: str
    tokens: int
    tally: Tally
    exact: bool

    @property
    def repository(self) -> str:
        """Where it was recorded."""
        return self.source.split(" ")[0]

    @property
    def contents(self) -> int:
        """Tokens that contents cost by themselves; Vertex AI, where some were recorded, adds none."""
        version = generation(self.model)
        return 0 if version == (2, 0) or "vertex" in self.source else self.tally.contents


@cache
def _declarations() -> dict[str, str]:
    lines = lzma.decompress((FOLDER / "udhr.jsonl.xz").read_bytes()).decode().splitlines()
    return {one["code"]: one["text"] for one in map(json.loads, lines)}


def _tally(record: dict[str, Any]) -> tuple[Tally, bool]:
    if "request" in record:
        line = json.dumps({"request": record["request"]}, ensure_ascii=False).encode()
        return tally([line], record["model"]), True
    if "udhr" in record:
        text = _declarations()[record["udhr"]]
        longer = record["characters"] / len(text)
        counts = [round(one * longer) for one in count(text.encode())]
        return Tally(rows=1, contents=1, text=tuple(counts)), abs(longer - 1) <= EXACT
    counts = dict(zip(CLASSES, NOTHING, strict=True)) | record["counts"]
    return Tally(rows=1, contents=1, text=tuple(counts.values())), True


def read() -> list[Record]:
    """All records, in the order of the file."""
    lines = (FOLDER / "recorded.jsonl").read_text(encoding="utf-8").splitlines()
    found = []
    for record in map(json.loads, lines):
        counted, exact = _tally(record)
        found.append(Record(record["source"], record["model"], record["tokens"], counted, exact))
    return found


def for_fit(records: list[Record]) -> list[Record]:
    """The records to fit: half of the sources, by a hash of their names; and what cannot be missed.

    The latter are texts that are not exactly those that were counted, and the first source of each script.
    """
    first: dict[str, str] = {}
    for record in records:
        first.setdefault(script_of(record.tally), record.source)
    return [one for one in records if not one.exact or one.source in first.values() or _is_odd(one.source)]


def for_test(records: list[Record]) -> list[Record]:
    """All others."""
    fitted = {one.source for one in for_fit(records)}
    return [one for one in records if one.source not in fitted]


def _is_odd(source: str) -> bool:
    return hashlib.sha256(source.encode()).digest()[0] % 2 == 1


def script_of(counted: Tally) -> str:
    """The script of most letters; it does not depend on what is fitted. Empty if none has 60 % of them."""
    letters = {name: count for name, count in zip(CLASSES, counted.text, strict=True) if name in SCRIPTS}
    letters["latin"] += counted.text[CLASSES.index("letters")]
    name = max(letters, key=lambda one: letters[one])
    return name if letters[name] >= 0.6 * sum(letters.values()) else ""
