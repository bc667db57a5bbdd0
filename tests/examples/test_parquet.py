"""From a Parquet file and back: every row with its answer, in order, streamed."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING, Any

import pytest

from docs.conftest import Shell, make_shell, offline_shell

if TYPE_CHECKING:
    from pathlib import Path

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
__all__ = ["make_shell", "offline_shell"]

ROWS: list[dict[str, Any]] = [
    {"id": 7, "review": "Great lamp", "stars": 5},
    {"id": 8, "review": None, "stars": None},
    {"id": 9, "review": 'It "broke"\nat once, für immer', "stars": 1},
    {"id": 10, "review": "", "stars": 3},
    {"id": 11, "review": "Fine", "stars": 4},
]


def table(shell: Shell, rows: list[dict[str, Any]], **input_kind: Any) -> Path:
    path = shell.folder / "reviews.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path, **input_kind)
    return path


def test_from_parquet_to_parquet(offline_shell: Shell) -> None:
    """The types of the columns stay; rows without a text have no answer; a row that failed says why."""
    table(offline_shell, ROWS)
    done = offline_shell.run(
        "python examples/parquet.py requests reviews.parquet requests.jsonl\n"
        "gemini-batch run requests.jsonl -o results.jsonl\n"
        "python examples/parquet.py join reviews.parquet results.jsonl answers.parquet"
    )

    assert "3 requests: 3 succeeded" in done.stderr
    found = pq.read_table(offline_shell.folder / "answers.parquet")
    assert found.schema.names == ["id", "review", "stars", "sentiment", "summary", "verdict", "error"]
    assert found.schema.field("stars").type == pa.int64()
    rows = found.to_pylist()
    assert [row["id"] for row in rows] == [7, 8, 9, 10, 11]
    assert [row["verdict"] for row in rows] == ["succeeded", None, "succeeded", None, "succeeded"]
    assert {row["sentiment"] for row in rows if row["verdict"]} <= {"positive", "mixed", "negative"}
    assert all(isinstance(row["summary"], str) for row in rows if row["verdict"])
    assert not list(offline_shell.folder.glob("*.part"))


def test_to_csv(offline_shell: Shell) -> None:
    table(offline_shell, ROWS)
    offline_shell.run(
        "python examples/parquet.py requests reviews.parquet requests.jsonl\n"
        "gemini-batch run requests.jsonl -o results.jsonl\n"
        "python examples/parquet.py join reviews.parquet results.jsonl answers.csv"
    )

    with (offline_shell.folder / "answers.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == ["7", "8", "9", "10", "11"]
    assert rows[2]["review"] == ROWS[2]["review"]
    assert rows[0]["verdict"] == "succeeded"


def result(key: str, **more: Any) -> str:
    text = json.dumps({"sentiment": "mixed", "summary": key})
    return json.dumps({"key": key, "verdict": "succeeded", "response": {"text": text}, "attempt": 1, **more}) + "\n"


def test_many_row_groups_are_joined_by_key(offline_shell: Shell) -> None:
    """More rows than a batch has, every third without a text, some failed."""
    rows = [{"id": n, "review": "x" if n % 3 else None} for n in range(150_000)]
    table(offline_shell, rows, row_group_size=70_000)
    offline_shell.run("python examples/parquet.py requests reviews.parquet requests.jsonl")
    keys = [row["key"] for row in offline_shell.rows("requests.jsonl")]
    assert len(keys) == 100_000
    error = {"code": 13, "reason": "INTERNAL", "message": "why"}
    with (offline_shell.folder / "results.jsonl").open("w") as file:
        file.writelines(result(key, **({"verdict": "failed", "error": error} if key == "100" else {})) for key in keys)

    offline_shell.run("python examples/parquet.py join reviews.parquet results.jsonl answers.parquet")

    found = pq.read_table(offline_shell.folder / "answers.parquet").to_pylist()
    assert [row["id"] for row in found] == list(range(150_000))
    for row in found:
        expected = (None, None) if row["id"] % 3 == 0 else (str(row["id"]), None)
        assert (row["summary"], row["error"]) == ((None, "why") if row["id"] == 100 else expected)


def test_a_trial_of_a_few_rows_joins_too(offline_shell: Shell) -> None:
    table(offline_shell, ROWS)
    offline_shell.run(
        "python examples/parquet.py requests reviews.parquet requests.jsonl\n"
        "gemini-batch run requests.jsonl --limit 1 -o results.jsonl\n"
        "python examples/parquet.py join reviews.parquet results.jsonl answers.parquet"
    )

    found = pq.read_table(offline_shell.folder / "answers.parquet").to_pylist()
    assert [row["verdict"] for row in found] == ["succeeded", None, None, None, None]


def test_results_of_another_table_are_refused(offline_shell: Shell) -> None:
    """No answer is given to a row that it does not belong to, and no file is made."""
    table(offline_shell, ROWS)
    (offline_shell.folder / "results.jsonl").write_text(result("7") + result("12"))

    done = offline_shell.run("python examples/parquet.py join reviews.parquet results.jsonl answers.parquet", code=1)

    assert "do they match?" in done.stderr
    assert not list(offline_shell.folder.glob("answers*"))


def test_it_says_how_it_is_used(offline_shell: Shell) -> None:
    done = offline_shell.run("python examples/parquet.py", code=1)

    assert "python parquet.py join" in done.stderr
