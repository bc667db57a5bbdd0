"""Result lines are made in groups, here or by worker processes: the same lines, the same errors."""

from __future__ import annotations

import os
import subprocess
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from engine.clock import Clock
from engine.fake import FakeService
from engine.steps import work
from gemini_batch import workers
from gemini_batch.answers.media import MediaWriter
from gemini_batch.errors import StateError
from gemini_batch.report import outcome, result_set
from gemini_batch.report.outcome import groups
from gemini_batch.report.result_set import TableStyle
from gemini_batch.store.ledger.run_options import RunOptions
from gemini_batch.store.rows.row_records import FinalRow
from gemini_batch.tables.note import SkippedRow, Table, TableNote, keep_table

if TYPE_CHECKING:
    from pathlib import Path

    from gemini_batch.report.result_set import Results

FORM = {
    "responseMimeType": "application/json",
    "responseSchema": {"type": "OBJECT", "properties": {"n": {"type": "INTEGER"}}, "required": ["n"]},
}
ROWS = 40
posix = pytest.mark.skipif(os.name != "posix", reason="elsewhere, there are no workers")


def answered(key: str) -> bytes | None:
    """The answer to each request by its number: good, not of its schema, cut off, an error, or none at all."""
    number = int(key.removeprefix("k"))
    if number % 8 == 6:
        return None
    if number % 8 == 5:
        return msgspec.json.encode({"error": {"code": 3, "message": f"No to {key}."}, "key": key})
    text = '{"n": "x"}' if number % 8 == 4 else f'{{"n": {number}}}'
    candidate = {
        "content": {"parts": [{"text": text}], "role": "model"},
        "finishReason": "MAX_TOKENS" if number % 8 == 3 else "STOP",
    }
    return msgspec.json.encode({"response": {"candidates": [candidate]}, "key": key})


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """The results of a run; requests that repeat one before them are copies of it."""
    folder = tmp_path_factory.mktemp("run")
    lines = [
        {
            "key": f"k{n}",
            "request": {
                "contents": [{"parts": [{"text": "the same" if n % 8 == 7 else f"ask {n}"}]}],
                "generationConfig": FORM,
            },
        }
        for n in range(ROWS)
    ]
    (folder / "in.jsonl").write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
    service = FakeService(Clock(), chunk=10_000, answer=answered)
    return work(service, folder, options=RunOptions(attempts=1), dedupe=True)


@pytest.fixture
def helped(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[bytes]]:
    """Two workers help, with groups of a few rows; the list gets their processes."""
    started: list[subprocess.Popen[bytes]] = []
    start = subprocess.Popen

    def noted(*args: Any, **options: Any) -> subprocess.Popen[bytes]:
        started.append(start(*args, **options))
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", noted)
    monkeypatch.setattr(workers, "worth", lambda _: 2)
    monkeypatch.setattr(outcome, "_GROUP", 3)
    return started


def written(found: Results, folder: Path) -> bytes:
    assert found.write(folder / "out.jsonl") == len(found)
    return (folder / "out.jsonl").read_bytes()


@posix
def test_the_same_bytes_with_and_without_workers(
    found: Results, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    expected, raw = list(found.lines()), list(replace(found, _raw=True).lines())
    processes = request.getfixturevalue("helped")

    assert written(found, tmp_path) == b"".join(line + b"\n" for line in expected)
    assert list(found.lines()) == expected
    assert list(replace(found, _raw=True).lines()) == raw
    assert len(processes) == 6
    assert all(process.poll() is not None for process in processes)

    read = [msgspec.json.decode(line) for line in expected]
    assert [line["key"] for line in read] == [f"k{n}" for n in range(ROWS)]
    assert {line["verdict"] for line in read} == {"succeeded", "invalid", "truncated", "failed", "missing"}
    assert {line["error"]["message"] for line in read if line["verdict"] == "invalid"} == {
        'n: "x" is not of type "integer"'
    }
    assert {line["copied_from"] for line in read if "copied_from" in line} == {"k7"}
    assert raw == [line for n in range(ROWS) if (n % 8 != 7 or n == 7) and (line := answered(f"k{n}")) is not None]


@posix
def test_rows_that_are_not_sent_stand_in_their_places(
    found: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    note = TableNote(name="t", source="t.csv", columns=["a"], rows=ROWS + 2, skipped={"EMPTY_PROMPT": 2})
    (tmp_path / "table").write_bytes(b"")
    rows = [SkippedRow(1, None, "EMPTY_PROMPT", "`a` is empty."), SkippedRow(5, "own", "EMPTY_PROMPT", "`a` is empty.")]
    (tmp_path / "skipped").write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for row in rows))
    keep_table(tmp_path, note, tmp_path / "table", tmp_path / "skipped")
    monkeypatch.setattr("gemini_batch.report.result_set.table_of", lambda _: Table(tmp_path, note))
    whole = replace(found, summary=msgspec.structs.replace(found.summary, skipped={"EMPTY_PROMPT": 2}))
    alone = list(found.lines())
    expected = list(whole.lines())
    request.getfixturevalue("helped")

    assert written(whole, tmp_path) == b"".join(line + b"\n" for line in expected)
    assert [line for line in expected if b'"skipped"' not in line] == alone
    assert [msgspec.json.decode(expected[n])["key"] for n in (0, 1, 4, 5)] == ["row-1", "k0", "own", "k3"]


@posix
@pytest.mark.parametrize("key", ["k0", "k5", "k39"])
@pytest.mark.parametrize("raw", [False, True])
def test_an_answer_file_that_was_changed(
    found: Results, tmp_path: Path, helped: list[subprocess.Popen[bytes]], key: str, raw: bool
) -> None:
    (file,) = (found._folder.path / "raw").glob("*.jsonl")
    before = file.read_bytes()
    answer = answered(key)
    assert answer is not None
    assert before.count(answer) <= 1
    place = answer if answer in before else answered("k7")
    assert place is not None
    file.chmod(0o600)
    file.write_bytes(before.replace(place, b"?" * len(place)))
    try:
        with pytest.raises(StateError, match=r"An answer file was changed: .*jsonl"):
            replace(found, _raw=raw).write(tmp_path / "out.jsonl")
    finally:
        file.write_bytes(before)

    assert not list(tmp_path.iterdir())
    assert len(helped) == 2
    assert all(process.poll() is not None for process in helped)


@posix
def test_a_reader_that_stops_early_leaves_no_worker(found: Results, helped: list[subprocess.Popen[bytes]]) -> None:
    with closing(found.lines()) as lines:
        next(lines)
        assert len(helped) == 2
        assert all(process.poll() is None for process in helped)
    assert all(process.poll() is not None for process in helped)


@posix
def test_a_disk_that_is_full_leaves_no_worker(
    found: Results, tmp_path: Path, helped: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("gemini_batch.report.output_files.Recorded.write_all", full)
    with pytest.raises(StateError, match="The disk is full"):
        found.write(tmp_path / "out.jsonl")
    assert len(helped) == 2
    assert all(process.poll() is not None for process in helped)


def test_what_is_written_in_one_place_has_no_workers(
    found: Results, tmp_path: Path, helped: list[subprocess.Popen[bytes]]
) -> None:
    """Media files, details, and lines of which perhaps few are wanted."""
    expected = list(replace(found, _style=TableStyle(details=True)).lines())
    assert all(b'"details":' in line for line in expected if b'"response":' in line)
    media = list(replace(found, _media=MediaWriter(tmp_path / "media", run="run-a")).lines())
    assert len(expected) == len(media) == ROWS
    assert len(list(found.lines(limit=5))) == 5
    assert helped == []


def test_long_answers_are_copied_here(
    found: Results, helped: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(result_set, "_LONG", 20)
    assert len(list(found.lines())) == ROWS
    assert helped == []


def test_no_more_is_read_than_is_asked_for(found: Results, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    judged = outcome.outcome_of

    def noted(row: FinalRow, *rest: Any) -> outcome.Outcome:
        read.append(row.key)
        return judged(row, *rest)

    monkeypatch.setattr(outcome, "outcome_of", noted)
    assert len(list(found.lines(limit=3))) == 3
    assert read == ["k0", "k1", "k2"]


def row(length: int) -> FinalRow:
    return FinalRow(0, "a", False, None, None, "f", 0, length, 1, "succeeded", "", None)


@pytest.mark.parametrize(
    ("lengths", "most", "sizes"),
    [
        ([], None, []),
        ([1] * 2500, None, [1000, 1000, 500]),
        ([1] * 3, 1, [1, 1, 1]),
        ([200_000] * 5, None, [2, 2, 1]),
        ([50_000_000] * 2, None, [1, 1]),
    ],
)
def test_groups_are_small(lengths: list[int], most: int | None, sizes: list[int]) -> None:
    assert [len(group) for group in groups(map(row, lengths), most)] == sizes
