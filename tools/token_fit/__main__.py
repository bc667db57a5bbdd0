"""Fit the rates to the recorded counts, and write them."""

from __future__ import annotations

import argparse
from pathlib import Path

from gemini_batch.tokens.media import generation
from token_fit.fit import UNMEASURED, fitted
from token_fit.records import Record, for_fit, read

TARGET = Path(__file__).parents[2] / "src" / "gemini_batch" / "tokens" / "table.py"


def page(records: list[Record]) -> str:
    """The module with the rates: those fitted to half of the records, and the models of all of them."""
    table = fitted(for_fit(records))
    rates = "".join(f'    "{name}": {rate},\n' for name, rate in table.rates.items())
    measured = "".join(f'    "{name}": {count},\n' for name, count in table.measured.items())
    versions = {version for one in records if (version := generation(one.model))}
    generations = ", ".join(map(str, sorted(versions)))
    return f'''"""Tokens of one of each class, in thousandths: low, expected, high. A fit wrote it (docs/tokens.md)."""

from __future__ import annotations

RATES = {{
{rates}}}
#: Of any character of a script that is not above.
UNMEASURED = {UNMEASURED}
#: The JSON of declarations, calls and responses of functions, for a thousand tokens of it as text.
CALLS = {table.calls}
#: The texts with recorded counts, by script.
MEASURED = {{
{measured}}}
#: The generations of the models with recorded counts.
GENERATIONS = frozenset({{{generations}}})
'''


if __name__ == "__main__":
    argparse.ArgumentParser(prog="python -m token_fit", description=__doc__).parse_args()
    TARGET.write_text(page(read()), encoding="utf-8")
