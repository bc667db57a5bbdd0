"""What cannot be written is said, with what to do next; what was there stays, and nothing is left behind."""

from __future__ import annotations

import errno
import os
import random
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gemini_batch.errors import StateError, UsageError
from gemini_batch.tables.outputs import workbook
from gemini_batch.tables.outputs.cells import Cells
from gemini_batch.tables.outputs.columns import answer_columns
from gemini_batch.tables.outputs.engine import connected
from gemini_batch.tables.outputs.write import ENDINGS, write_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

TEXT = answer_columns(None, method="generate")
GOOD = [Cells(["a", "succeeded", None]), Cells(None), Cells(["c", "succeeded", None])]
FILES = [ending for ending in ENDINGS if ending != ".sqlite"]


@pytest.fixture
def snapshot(tmp_path: Path) -> Path:
    path = tmp_path / "in" / "table.parquet"
    path.parent.mkdir()
    pq.write_table(pa.table({"n": [0, 1, 2]}), path)
    return path


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


def refused(kind: type[Exception], snapshot: Path, answers: Iterable[Cells], output: Path, **options: Any) -> Any:
    """The error; the old file is as it was, and nothing is next to it."""
    output.write_bytes(b"old")
    recorded: list[str] = []
    with pytest.raises(kind) as caught:
        write_table(snapshot, answers, TEXT, output, record=recorded.append, **options)
    assert output.read_bytes() == b"old"
    assert list(output.parent.iterdir()) == [output]
    assert recorded == []
    return caught.value


@pytest.mark.parametrize("ending", FILES)
@pytest.mark.parametrize("answers", [GOOD[:2], [*GOOD, *GOOD], []])
def test_as_many_answers_as_rows(ending: str, answers: list[Cells], snapshot: Path, out: Path) -> None:
    error = refused(StateError, snapshot, answers, out / f"o{ending}")

    assert error.reason_code == "rows_do_not_match"
    assert f"3 rows, but there are answers for {len(answers)}" in error.message


@pytest.mark.parametrize("ending", FILES)
def test_what_is_raised_while_answers_are_read_is_raised(ending: str, snapshot: Path, out: Path) -> None:
    def answers() -> Iterator[Cells]:
        yield GOOD[0]
        raise StateError("An answer is damaged.")

    assert refused(StateError, snapshot, answers(), out / f"o{ending}").message == "An answer is damaged."


@pytest.mark.parametrize("damage", [b"", b"PAR1", b"no table", None])
def test_a_damaged_copy_of_the_table(damage: bytes | None, snapshot: Path, out: Path) -> None:
    if damage is None:
        snapshot.unlink()
    else:
        snapshot.write_bytes(damage)

    error = refused(StateError, snapshot, GOOD, out / "o.csv")

    assert error.file == str(snapshot)
    assert error.message.startswith("The copy of the table ")


@pytest.mark.parametrize("at", ["middle", "end"])
def test_a_copy_of_the_table_that_is_cut_or_changed(at: str, tmp_path: Path, out: Path) -> None:
    path = tmp_path / "table.parquet"
    pq.write_table(pa.table({"n": [str(number) * 20 for number in range(20_000)]}), path)
    data = bytearray(path.read_bytes())
    if at == "end":
        del data[-100:]
    else:
        data[1000:3000] = bytes(2000)
    path.write_bytes(data)

    error = refused(StateError, path, [Cells(None)] * 20_000, out / "o.parquet")

    assert error.file == str(path)


@pytest.mark.parametrize("ending", FILES)
@pytest.mark.parametrize("full", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk(ending: str, full: int, snapshot: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the complete file is to reach the disk."""

    def no_room(descriptor: int) -> None:
        raise OSError(full, os.strerror(full))

    monkeypatch.setattr(os, "fsync", no_room)

    output = out / f"o{ending}"
    output.write_bytes(b"old")
    with pytest.raises(OSError, match=os.strerror(full)):
        write_table(snapshot, GOOD, TEXT, output)
    assert output.read_bytes() == b"old"
    assert list(out.iterdir()) == [output]


LIMITED = """
import resource, signal, sys
from pathlib import Path
from gemini_batch.tables.outputs.cells import Cells
from gemini_batch.tables.outputs.columns import answer_columns
from gemini_batch.tables.outputs.write import write_table

where, output, snapshot, scratch = sys.argv[1], *map(Path, sys.argv[2:])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
answer = Cells(["x" * 100, "succeeded", None] if where == "spool" else None)
columns = answer_columns(None, method="generate")
try:
    write_table(snapshot, [answer] * 20_000, columns, output, temporary=scratch)
except OSError as error:
    print("OSError", error.errno is not None)
"""


@pytest.mark.parametrize("ending", FILES)
@pytest.mark.parametrize("where", ["spool", "file"])
def test_a_disk_that_fills_up(where: str, ending: str, out: Path, tmp_path: Path) -> None:
    """While the spool is written, or the file: the system refuses to let a file grow beyond a megabyte."""
    snapshot, output = tmp_path / "table.parquet", out / f"o{ending}"
    noise = random.Random(1)
    pq.write_table(pa.table({"n": [noise.randbytes(100).hex() for _ in range(20_000)]}), snapshot)
    output.write_bytes(b"old")

    done = subprocess.run(
        [sys.executable, "-c", LIMITED, where, output, snapshot, tmp_path],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": os.environ["PATH"], "TMPDIR": str(tmp_path)},
    )

    assert (done.stdout, done.returncode, done.stderr) == ("OSError True\n", 0, "")
    assert output.read_bytes() == b"old"
    assert list(out.iterdir()) == [output]
    assert {path.name for path in tmp_path.iterdir()} == {"table.parquet", "out"}


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="needs a user whom permissions bind")
@pytest.mark.parametrize("ending", FILES)
def test_a_folder_that_cannot_be_written(ending: str, snapshot: Path, out: Path) -> None:
    out.chmod(0o500)
    try:
        with pytest.raises(PermissionError):
            write_table(snapshot, GOOD, TEXT, out / f"o{ending}")
    finally:
        out.chmod(0o700)


@pytest.mark.parametrize("ending", FILES)
def test_a_folder_that_is_not_there(ending: str, snapshot: Path, out: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_table(snapshot, GOOD, TEXT, out / "missing" / f"o{ending}")


@pytest.mark.parametrize(
    ("text", "units"),
    [("x" * 32_768, 32_768), ("😀" * 16_384, 32_768), ("\x01" * 5_000, 35_000), ("_x0041_" * 4_000, 52_000)],
)
def test_a_text_that_is_too_long_for_a_sheet(text: str, units: int, snapshot: Path, out: Path) -> None:
    answers = [GOOD[0], Cells([text, "succeeded", None]), GOOD[2]]

    error = refused(UsageError, snapshot, answers, out / "o.xlsx")

    assert error.reason_code == "too_large_for_format"
    assert error.message.startswith(f"Row 2 has {units:,} characters in column 'text'")
    assert ".parquet" in str(error)


def test_the_longest_text_of_a_sheet_is_written(snapshot: Path, out: Path) -> None:
    answers = [GOOD[0], Cells(["😀" * 16_383 + "x", "succeeded", None]), GOOD[2]]

    assert write_table(snapshot, answers, TEXT, out / "o.xlsx") == 3


def test_more_rows_than_a_sheet_has(snapshot: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (workbook.ROWS, workbook.COLUMNS, workbook.CHARACTERS) == (1_048_576, 16_384, 32_767)
    monkeypatch.setattr(workbook, "ROWS", 4)
    assert write_table(snapshot, GOOD, TEXT, out / "o.xlsx") == 3
    monkeypatch.setattr(workbook, "ROWS", 3)

    error = refused(UsageError, snapshot, GOOD, out / "o.xlsx")

    assert error.message == "The table has 3 rows; a sheet has at most 2 below its header."


@pytest.mark.parametrize(("ending", "count"), [(".xlsx", 16_384), (".db", 2_000)])
def test_more_columns_than_a_format_has(ending: str, count: int, tmp_path: Path, out: Path) -> None:
    wide = tmp_path / "wide.parquet"
    pq.write_table(pa.table({f"c{number}": [1] for number in range(count)}), wide)

    error = refused(UsageError, wide, GOOD[:1], out / f"o{ending}")

    assert (error.reason_code, f"{count + 3:,} columns" in error.message) == ("too_large_for_format", True)


@pytest.mark.parametrize("name", ["o", "o.txt", "o.jsonl", "o.parquet.gz"])
def test_a_name_that_is_not_that_of_a_table(name: str, snapshot: Path, out: Path) -> None:
    error = refused(UsageError, snapshot, GOOD, out / name)

    assert error.reason_code == "bad_output"
    assert all(ending in error.next for ending in ENDINGS)


@pytest.mark.parametrize("ending", [".parquet", ".db", ".xlsx"])
def test_what_cannot_be_written_to_a_pipe(ending: str, snapshot: Path, out: Path) -> None:
    os.mkfifo(out / f"pipe{ending}")

    with pytest.raises(UsageError, match="can only be written to a file"):
        write_table(snapshot, GOOD, TEXT, out / f"pipe{ending}")


def test_a_name_that_is_not_text(snapshot: Path, out: Path) -> None:
    with pytest.raises(UsageError, match="not UTF-8 text"):
        write_table(snapshot, GOOD, TEXT, out / "o\udcff.parquet")
    assert list(out.iterdir()) == []


@pytest.mark.parametrize("missing", ["duckdb", "openpyxl"])
def test_a_library_that_is_missing(missing: str, snapshot: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, missing, None)

    error = refused(UsageError, snapshot, GOOD, out / "o.xlsx")

    assert (error.reason_code, "pip install 'gemini-batch[tables]'" in error.next) == ("missing_extra", True)


def test_no_extension_is_fetched_and_none_is_loaded(tmp_path: Path) -> None:
    with connected(tmp_path / "temporary") as db:
        settings = dict(
            db.execute(
                "SELECT name, value FROM duckdb_settings() WHERE name IN ('autoinstall_known_extensions', "
                "'autoload_known_extensions', 'preserve_insertion_order', 'memory_limit', 'TimeZone')"
            ).fetchall()
        )
    assert settings == {
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
        "preserve_insertion_order": "true",
        "memory_limit": "512.0 MiB",
        "TimeZone": "UTC",
    }
