"""The short programs over tables, each run as it stands, offline."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from docs.conftest import Shell, make_shell, offline_shell
from docs.pages import ROOT
from examples.catalogue import two_nights

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["make_shell", "offline_shell"]
PROGRAMS = ("pydantic_reviews.py", "polars_frame.py", "sql.sh", "folder.sh", "catalogue.sh")
#: Those that tests/engines runs.
ENGINES = ("scale_daft.py", "scale_ray.py", "scale_spark.py")


def table(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"), newline="")))


@pytest.mark.parametrize("name", [*PROGRAMS, *ENGINES])
def test_they_are_short(name: str) -> None:
    assert len((ROOT / "examples" / name).read_text(encoding="utf-8").splitlines()) < 30


def test_pydantic(offline_shell: Shell) -> None:
    said = offline_shell.run("python examples/pydantic_reviews.py").stdout.splitlines()

    assert [line.split()[:2] for line in said] == [["101", "succeeded"], ["102", "skipped"], ["103", "succeeded"]]
    assert said[1] == "102 skipped `review` is empty."
    assert said[0].split()[2] in {"positive", "mixed", "negative"}
    rows = table(offline_shell.folder / "reviews.csv")
    assert list(rows[0]) == ["id", "review", "sentiment", "topics", "wants_contact", "verdict", "problem"]


def test_polars(offline_shell: Shell) -> None:
    assert "succeeded" in offline_shell.run("python examples/polars_frame.py").stdout

    rows = pq.read_table(offline_shell.folder / "products.parquet").to_pylist()
    assert [(row["sku"], row["lumens"], row["verdict"]) for row in rows] == [
        ("a1", 400, "succeeded"),
        ("b2", 250, "succeeded"),
        ("c3", 90, "succeeded"),
    ]


def test_sql(offline_shell: Shell) -> None:
    (offline_shell.folder / "products.csv").write_text("id,name\n1,lamp\n2,desk\n3,chair\n")
    (offline_shell.folder / "reviews.csv").write_text("product,text\n1,good\n1,bright\n2,fine\n3,soft\n3,low\n")

    offline_shell.run("sh examples/sql.sh")

    rows = pq.read_table(offline_shell.folder / "vectors.parquet").to_pylist()
    assert [(row["id"], row["reviews"], len(row["summary_embedding"])) for row in rows] == [(1, 2, 256), (3, 2, 256)]


def test_a_folder(offline_shell: Shell) -> None:
    scans = offline_shell.folder / "scans"
    scans.mkdir()
    (scans / "a.pdf").write_bytes(b"%PDF-1.4\n%%EOF\n")
    (scans / "b.txt").write_text("some words")
    (scans / "c.bin").write_bytes(b"\0\1\2")

    offline_shell.run("sh examples/folder.sh", code=1)

    rows = table(offline_shell.folder / "descriptions.csv")
    assert [(row["path"], row["verdict"]) for row in rows] == [
        ("a.pdf", "succeeded"),
        ("b.txt", "succeeded"),
        ("c.bin", "skipped"),
    ]
    texts = sorted(path for path in (offline_shell.folder / "descriptions").iterdir() if path.suffix == ".md")
    assert len(texts) == 2
    assert "a.pdf" in texts[0].read_text() + texts[1].read_text()


def test_a_catalogue(offline_shell: Shell) -> None:
    two_nights(offline_shell, 60, 5)


def test_a_catalogue_with_a_product_that_has_a_problem(offline_shell: Shell) -> None:
    """It passes through both commands, and is the only one that the second one does not send."""
    source = pa.table(
        {"sku": ["a", "b"], "name": ["lamp", "desk"], "features": ["", ""], "picture": ["gone.png", None]}
    )
    pq.write_table(source, offline_shell.folder / "products.parquet")

    offline_shell.run("sh examples/catalogue.sh", code=1)

    rows = pq.read_table(offline_shell.folder / "catalogue.parquet").to_pylist()
    assert [(row["verdict"], row["text_verdict"]) for row in rows] == [
        ("skipped", "skipped"),
        ("succeeded", "succeeded"),
    ]
    assert "gone.png" in rows[0]["text_problem"]
