"""What commands say about tables names what the user named: rows, tables, standard input."""

from __future__ import annotations

import contextlib
import io
import sqlite3
from typing import TYPE_CHECKING

from cli.csv_files import write_csv

if TYPE_CHECKING:
    import pytest

    from cli.conftest import Shell


def test_a_request_file_has_no_columns_that_could_collide(shell: Shell) -> None:
    write_csv(shell.folder / "t.csv", [{"a": "x", "text": "1", "verdict": "", "problem": ""}])
    assert shell.run("prepare", "t.csv", "--prompt", "{{ a }}", "-o", "out.jsonl").code == 0


def test_a_warning_names_the_row(shell: Shell) -> None:
    rows = [{"a": a, "f": f} for a, f in (("", ""), ("x", ""), ("", ""), ("y", "gs://b/o.png"))]
    write_csv(shell.folder / "t.csv", rows)
    done = shell.run("run", "t.csv", "--prompt", "{{ a }}", "--attach", "f", "--offline", "-o", "out.csv")
    assert "fileData.fileUri: Row 4: " in done.err
    assert ":2:" not in done.err


def test_the_command_for_a_database_names_a_table_and_a_column(shell: Shell) -> None:
    with contextlib.closing(sqlite3.connect(shell.folder / "shop.db")) as db:
        db.execute("CREATE TABLE items (id INTEGER, review TEXT)")
        db.commit()
    done = shell.run("validate", "shop.db")
    assert done.code == 2
    assert "run shop.db::items --prompt '… {{ review }} …'" in done.err


def test_standard_input_is_named_as_such(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"")))
    done = shell.run("prepare", "-", "--prompt", "{{ a }}", "-o", "out.jsonl")
    assert done.code == 2
    assert "standard input: The file is empty" in done.err
