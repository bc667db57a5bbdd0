"""The steps behind ``python -m benchmarks estimate``, each in a process of its own; each prints the number of rows.

``write`` writes requests with 200 bytes of text. ``estimate`` estimates their tokens; ``json`` only decodes each line.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from gemini_batch.tokens.estimate import estimate_lines

_TEXT = (
    "Classify this review in a few words, and answer in JSON with sentiment and score: the lamp is light, it lasts, "
    'and "it says that it is quite good" (4.5 stars of 5) after 12 weeks. Review no. '
)
_MODEL = "gemini-3-flash-preview"


def write(file: Path, rows: int) -> int:
    """Write the requests."""
    with file.open("wb") as out:
        for row in range(rows):
            request = {
                "contents": [{"role": "user", "parts": [{"text": f"{_TEXT}{row:09}"}]}],
                "generationConfig": {"temperature": 0.2, "maxOutputTokens": 512},
            }
            out.write(json.dumps({"key": f"row-{row}", "request": request}).encode() + b"\n")
    return rows


def estimate(file: Path) -> int:
    """Estimate them."""
    with file.open("rb") as lines:
        return estimate_lines(lines, _MODEL).rows


def decode(file: Path) -> int:
    """Decode them."""
    with file.open("rb") as lines:
        return sum("request" in json.loads(line) for line in lines)


if __name__ == "__main__":
    step, path = sys.argv[1], Path(sys.argv[2])
    print(
        {
            "write": lambda: write(path, int(sys.argv[3])),
            "estimate": lambda: estimate(path),
            "json": lambda: decode(path),
        }[step]()
    )
