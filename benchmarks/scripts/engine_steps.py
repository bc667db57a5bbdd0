"""The steps behind ``python -m benchmarks engines``, each in a process of its own with Daft, in it or on Ray.

``shards native|ray TABLE FOLDER`` makes shards of a table; ``join native|ray TABLE FOLDER`` joins their answers to it,
in Parquet files. What is on the disk counts afterwards, not the exit code: Daft sometimes crashes when Python ends.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import daft

from gemini_batch.daft import join, request_shards

ASKED: dict[str, Any] = {"prompt": "Classify this review of {{ sku }}:\n{{ review }}", "key": "id"}


def main() -> None:
    """Do one step."""
    step, runner, table, place = sys.argv[1], sys.argv[2], sys.argv[3], Path(sys.argv[4])
    if runner == "ray":
        daft.set_runner_ray()
    rows = daft.read_parquet(table)
    if step == "shards":
        request_shards(rows, place / "shards", **ASKED)
    else:
        found = join(rows, place / "answers", shards=place / "shards" / "manifest.jsonl", **ASKED)
        found.write_parquet(str(place / "table"))


if __name__ == "__main__":
    main()
