"""However a raw file is divided, whoever reads it, and whether it is read once or twice: its rows are the same."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.fake import answer_line
from gemini_batch import blocks, workers
from gemini_batch.catalog import Method
from gemini_batch.engine.judging import Judge, Judged, Kept, judge_file
from gemini_batch.events import ignore_events
from gemini_batch.store.ledger.records import Job, JobStage, Run
from gemini_batch.store.state_folder import RunFolder
from property.test_result_files import _TEMPLATES, KEYS, damage, damaged

#: All that judging writes; an id is only a number.
_TABLES = {
    "answers": "seq, answer_file, attempt, offset, length, verdict, reason, input, output, usage_known, message",
    "quarantine": "*",
    "messages": "*",
    "answer_files": "*",
    "requests": "seq, line, key, job, answer",
}


def rows_of(raw: bytes, *, adopted: bool = False, kept: bool = False) -> dict[str, list[tuple[object, ...]]]:
    """The rows that judging these bytes writes; ``kept``: they are judged first, as when they are downloaded."""
    with tempfile.TemporaryDirectory() as name:
        folder = RunFolder(Path(name, "run-a"))
        if adopted:
            folder.path.mkdir()
            folder.rows(new=True).close()
        else:
            shutil.copytree(_TEMPLATES[1], folder.path)
        run = Run(
            id="run-a", identity="i", origin="adopted" if adopted else "made", created_at=0.0, method=Method.GENERATE,
            model="gemini-3.8-flash", backend="x", requests=len(KEYS), bytes=0, sha256=None if adopted else "",
            source=None,
        )  # fmt: skip
        job = Job(
            id="run-a-1", run="run-a", ordinal=1, model="m", requests=len(KEYS), tokens=0, part=None, offset=0, bytes=0,
            sha256="", input_kind="file", display_name="n", stage=JobStage.ENDED, batch="batches/x", total=len(KEYS),
            state="JOB_STATE_SUCCEEDED",
        )  # fmt: skip
        folder.raw(job.id).parent.mkdir(exist_ok=True)
        folder.raw(job.id).write_bytes(raw)
        with Kept(folder.path) as held:
            if kept:
                with folder.rows() as rows, folder.raw(job.id).open("rb") as file:
                    for _ in held.passing(Judge(folder, run, job, None if adopted else rows).read(file)):
                        pass
            judge_file(ignore_events, folder, run, job, "NO_LINE", kept=held)
        with folder.rows() as rows:
            db = rows.connection
            return {
                table: [tuple(row) for row in db.execute(f"SELECT {columns} FROM {table} ORDER BY rowid")]
                for table, columns in _TABLES.items()
            }


@given(st.lists(damage, max_size=8), st.booleans(), st.booleans(), st.integers(1, 700), st.booleans())
def test_blocks_of_any_size(
    steps: list[tuple[str, int, object]], adopted: bool, kept: bool, size: int, ended: bool
) -> None:
    raw = damaged(steps) + b"\n" * ended
    expected = rows_of(raw, adopted=adopted)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "BLOCK", size)
        assert rows_of(raw, adopted=adopted, kept=kept) == expected


@pytest.mark.skipif(os.name != "posix", reason="elsewhere, there are no workers")
@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("adopted", [False, True])
def test_workers_find_the_same(adopted: bool, kept: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    strange = [answer_line("f" * 16), b'{"response":{}}', b"{", b"[]", b"", b'{"key":"\xff"}']
    raw = b"\n".join([*map(answer_line, KEYS[3:]), *strange, *map(answer_line, KEYS), *strange])
    expected = rows_of(raw, adopted=adopted)
    monkeypatch.setattr(blocks, "BLOCK", 200)
    monkeypatch.setattr(workers, "worth", lambda _: 2)
    assert rows_of(raw, adopted=adopted, kept=kept) == expected
    assert len(expected["answers"]) == (11 if adopted else 9)
    assert {row[3] for row in expected["quarantine"]} >= {"NO_KEY", "NOT_JSON", "NOT_AN_OBJECT", "NOT_UTF8"}


@pytest.mark.parametrize("size", [50, 10**6])
def test_a_line_that_is_too_long_costs_only_itself(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    long = b'{"key":"' + b"x" * 5000 + b'"}'
    raw = b"\n".join([answer_line(KEYS[0]), long, answer_line(KEYS[1])])
    monkeypatch.setattr(blocks, "BLOCK", size)
    monkeypatch.setattr(blocks, "MAX_LINE", 1000)
    monkeypatch.setattr("gemini_batch.jsonl.read_all_lines.__kwdefaults__", {"limit": 1000})
    found = rows_of(raw)
    assert [row[0] for row in found["answers"]] == [0, 1]
    (stray,) = found["quarantine"]
    assert stray[1:] == (len(answer_line(KEYS[0])) + 1, len(long), "TOO_LONG")


@pytest.mark.parametrize("kept", [False, True])
def test_requests_are_found_by_an_index(kept: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also by workers, which have connections of their own: else each would search through all requests."""
    with sqlite3.connect(f"file:{_TEMPLATES[1] / 'rows.db'}?mode=ro", uri=True) as db:
        assert _indexes(db).isdisjoint({"requests_hash"})
    block, seen = Judge.block, list[bool]()

    def judged(self: Judge, source: int, one: blocks.Block) -> Judged:
        with closing(sqlite3.connect(self._folder.row_database)) as other:
            seen.append("requests_hash" in _indexes(other))
        return block(self, source, one)

    monkeypatch.setattr(Judge, "block", judged)
    assert rows_of(b"\n".join(map(answer_line, KEYS)), kept=kept)["answers"]
    assert seen
    assert all(seen)


def _indexes(db: sqlite3.Connection) -> set[str]:
    return {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'index'")}


def test_what_was_read_in_part_is_not_kept(tmp_path: Path) -> None:
    with Kept(tmp_path) as kept:
        passing = kept.passing(iter([]))
        assert kept.read() is None
        assert list(passing) == []
        assert list(kept.read() or "nothing") == []
        kept.clear()
        assert kept.read() is None
