"""Rows that engines shape: shards, answers, a table; in this process, on Ray, with Ray Data and with Spark."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import gemini_batch
from docs.pages import ROOT
from gemini_batch.commands.prepare import prepare
from gemini_batch.intake.table_options import needed_table

if TYPE_CHECKING:
    from pathlib import Path

ASKED: dict[str, Any] = {
    "prompt": "What does it say? {{ review }}",
    "system": "It is {{ day }}. Think of {{ tags }}.",
    "schema": {
        "type": "object",
        "properties": {
            "sentiment": {"type": "string", "enum": ["good", "bad"]},
            "stars": {"type": "integer"},
            "words": {"type": "array", "items": {"type": "string"}},
            "more": {"type": "object"},
        },
        "required": ["sentiment", "stars", "words"],
    },
    "key": ["day", "id"],
    "prefix": "said",
}
VECTORS: dict[str, Any] = {"prompt": "{{ review }}", "kind": "embed", "dimensions": 16, "key": "id"}
pytestmark = pytest.mark.timeout(1200)  # the first one installs


def write_rows(folder: Path) -> pa.Table:
    """Three files of forty rows; a few of them have no review."""
    folder.mkdir(parents=True)
    tables = []
    for number in range(3):
        ids = range(40 * number, 40 * number + 40)
        table = pa.table(
            {
                "id": [f"r{one:03}" for one in ids],
                "title": ["Lamp"] * 40,
                "day": [dt.date(2026, 1, 1 + one % 20) for one in ids],
                "review": [None if one % 40 == 7 else f'about "{one}" \n größe' for one in ids],
                "tags": [["a", str(one)] for one in ids],
            }
        )
        pq.write_table(table, folder / f"{number}.parquet")
        tables.append(table)
    return pa.concat_tables(tables)


def run(python: Path, words: list[str], folder: Path, **more: str) -> str:
    """A program in a home of its own; what it wrote counts, and not its exit code. Returns what it said."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "JAVA_HOME") if name in os.environ}
    home = {"GEMINI_BATCH_HOME": str(folder / "home"), "GEMINI_BATCH_OFFLINE": "1", "RAY_USAGE_STATS_ENABLED": "0"}
    done = subprocess.run(
        [str(python), *words], env={**kept, **home, **more}, cwd=folder, capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr


def as_table(found: pa.Table) -> list[dict[str, Any]]:
    rows = json.loads(json.dumps(found.to_pylist(), default=str))
    return sorted(rows, key=lambda row: str(row["id"]))


@pytest.fixture(scope="module", params=["native", "ray"])
def life(
    request: pytest.FixtureRequest, daft_python: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    """The folder of a life in Daft, and what it found."""
    folder = tmp_path_factory.mktemp(request.param)
    pq.write_table(write_rows(folder / "rows"), folder / "rows.parquet")
    (folder / "asked.json").write_text(json.dumps(ASKED))
    (folder / "vectors.json").write_text(json.dumps(VECTORS))
    said = run(daft_python, [str(ROOT / "tests" / "engines" / "life.py"), request.param, str(folder)], folder)
    assert (folder / "found.json").exists(), said
    return folder, json.loads((folder / "found.json").read_text())


@pytest.mark.daft
def test_requests_are_those_of_the_table(life: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    folder, found = life
    shards = [json.loads(line) for line in found["manifest"].splitlines()]
    lines = b"".join((folder / "shards" / shard["uri"]).read_bytes() for shard in shards).splitlines()

    asyncio.run(prepare(needed_table(folder / "rows.parquet", ASKED), tmp_path / "requests.jsonl"))  # type: ignore[arg-type]

    assert sorted(lines) == sorted((tmp_path / "requests.jsonl").read_bytes().splitlines())
    assert len(shards) > 3
    assert all(shard["requests"] <= 30 for shard in shards)


@pytest.mark.daft
def test_the_same_rows_are_known_again_in_whatever_order(life: tuple[Path, dict[str, Any]]) -> None:
    folder, found = life
    shards = [json.loads(line)["uri"] for line in found["manifest"].splitlines()]
    manifest, there = found["again"]
    assert manifest == found["manifest"]
    assert [name for name in there if name.startswith("shard-")] == shards
    assert found["recognised"]
    assert found["verdicts"] == {"succeeded": 117}
    assert found["sorted"] or folder.name.startswith("ray")


@pytest.mark.daft
@pytest.mark.parametrize("which", ["table", "vectors"])
def test_the_join_is_the_table_that_a_run_writes(
    which: str, life: tuple[Path, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, found = life
    asked = ASKED if which == "table" else VECTORS
    monkeypatch.setenv("GEMINI_BATCH_HOME", str(tmp_path / "home"))
    with gemini_batch.GeminiBatch(offline=True) as client:
        expected = client.run(folder / "rows.parquet", **asked).to_arrow()

    assert list(found[which]["types"]) == expected.column_names
    assert found[which]["rows"] == as_table(expected)
    if which == "vectors":
        assert found[which]["types"]["embedding"] == "List[Float32; 16]"
    else:
        assert found[which]["types"]["said_words"] == "List[String]"
        assert found[which]["types"]["said_stars"] == "Int64"


@pytest.mark.daft
def test_answers_that_are_not_there_yet(life: tuple[Path, dict[str, Any]]) -> None:
    _, found = life
    assert found["early"][:2] == ["UsageError", "bad_manifest"]
    assert found["some"][:2] == ["UsageError", "shards_unanswered"]
    assert "partial=True" in found["some"][2]
    rows = found["partial"]["rows"]
    verdicts = [row["said_verdict"] for row in rows]
    assert (len(rows), verdicts.count("succeeded"), verdicts.count("skipped")) == (120, found["requests"], 3)
    assert {row["said_problem"] for row in rows if row["said_verdict"] == "missing"} == {
        "There is no answer for this row yet."
    }
    assert found["gone"][:2] == ["UsageError", "file_not_found"]


@pytest.mark.daft
def test_what_is_refused_leaves_nothing(life: tuple[Path, dict[str, Any]]) -> None:
    _, found = life
    for name, says in (
        ("twice", "same key 'r098'"),
        ("apart", "same key: 'r000' (2 times)"),
        ("null", "the key has no value"),
    ):
        (kind, code, text), left = found[name]
        assert (kind in {"InvalidInput", "UsageError"}, code, left) == (True, "invalid_input", []), name
        assert says in text
    assert found["column"][:2] == ["UsageError", "no_column"]
    assert found["collision"][:2] == ["UsageError", "column_collision"]
    assert "a column that cannot be made" in found["broken"]
    assert [name for name in found["left"] if name == "manifest.jsonl" or ".part" in name or ".stop" in name] == []


def example(name: str, python: Path, folder: Path, *more: str, **variables: str) -> list[dict[str, Any]]:
    """Run one of the examples; returns the rows of its table."""
    write_rows(folder / "rows")
    source = f"{folder}/rows/*.parquet" if name == "scale_daft.py" else str(folder / "rows")
    said = run(python, [str(ROOT / "examples" / name), source, str(folder / "made"), *more], folder, **variables)
    files = [path for path in (folder / "made" / "table").rglob("*.parquet") if path.stat().st_size]
    assert files, said
    assert "{'succeeded': 117}" in said
    tables = [table for table in map(pq.read_table, files) if table.num_rows]
    return as_table(pa.concat_tables(tables, promote_options="permissive"))


@pytest.mark.daft
@pytest.mark.parametrize("more", [[], ["ray"]])
def test_the_example_with_daft(more: list[str], daft_python: Path, tmp_path: Path) -> None:
    rows = example("scale_daft.py", daft_python, tmp_path, *more)
    assert [row["verdict"] for row in rows].count("succeeded") == 117
    assert {row["stars"] is None for row in rows if row["verdict"] == "succeeded"} == {False}
    assert (len(rows), rows[7]["verdict"], rows[7]["problem"]) == (120, "skipped", "`whole` is empty.")


@pytest.mark.daft
def test_the_example_with_ray_data(daft_python: Path, tmp_path: Path) -> None:
    check(example("scale_ray.py", daft_python, tmp_path))


@pytest.mark.spark
@pytest.mark.skipif(shutil.which("java") is None, reason="Spark needs Java")
def test_the_example_with_spark(spark_python: Path, tmp_path: Path) -> None:
    check(example("scale_spark.py", spark_python, tmp_path, PYSPARK_PYTHON=str(spark_python)))


def check(rows: list[dict[str, Any]]) -> None:
    """Each row once, with its own answer."""
    assert [row["id"] for row in rows] == [f"r{number:03}" for number in range(120)]
    assert [number for number, row in enumerate(rows) if row["verdict"] is None] == [7, 47, 87]
    for number, row in enumerate(rows):
        assert row["text"] is None or f'about "{number}"' in row["text"]
