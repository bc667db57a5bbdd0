"""Rows that another engine shapes: written as shards where it runs them, and a manifest at last."""

from __future__ import annotations

import asyncio
import datetime as dt
import decimal
import errno
import hashlib
import json
import tempfile
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import gemini_batch
from gemini_batch import InvalidInput, StateError, UsageError, answer_files, daft, shards_of, write_manifest
from gemini_batch.commands.prepare import prepare
from gemini_batch.intake import shards as making
from gemini_batch.intake.shards import ShardMaker
from gemini_batch.intake.table_options import needed_table
from gemini_batch.tables.making.prepare import keys_of
from gemini_batch.tables.sources.snapshot import Given, take_snapshot

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

ASK: dict[str, Any] = {"prompt": "About {{ text }}", "key": "id"}
ROWS = pa.table({"id": [f"r{number}" for number in range(10)], "text": ["some", "words"] * 5})
#: Every type that a key or a prompt may have, and cells that are no plain text.
ODD = pa.table(
    {
        "id": pa.array([1, 2, 3, 4], pa.int16()),
        "day": pa.array([dt.date(2026, 1, day) for day in (1, 2, 3, 4)]),
        "text": pa.array(['say "no"\n', "\x1f", "größe 你", None], pa.large_string()),
        "weight": pa.array([0.1, 2.5, None, 1e30], pa.float32()),
        "price": pa.array([decimal.Decimal("1.50"), None, decimal.Decimal("0.05"), decimal.Decimal(0)]),
        "at": pa.array([dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)] * 4, pa.timestamp("us", "Europe/Lisbon")),
        "tags": pa.array([["a"], [], None, ["b", "c"]], pa.list_(pa.string())),
        "made": pa.array([{"by": "x", "n": 1}] * 4),
        "good": pa.array([True, False, None, True]),
    }
)
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}}
RECIPES: list[dict[str, Any]] = [
    {"prompt": "{{ text }}", "key": "id"},
    {"prompt": "{{ text }} {{ weight }} {{ price }} {{ at }} {{ tags }} {{ made }} {{ good }}", "key": ["day", "id"]},
    {"prompt": "{% if good %}{{ text | upper }}{% endif %} {{ made.by }}", "key": "weight", "only": [0, 1, 3]},
    {"prompt": "{{ day }}", "key": "price", "only": [0, 2, 3], "system": "You know {{ tags }}"},
    {"prompt": "{{ text }}", "key": "id", "kind": "embed", "dimensions": 64},
    {"prompt": "{{ text }}", "key": "at", "only": [0], "schema": SCHEMA},
]  # fmt: skip


def made(folder: Path | str, rows: Any, **options: Any) -> list[gemini_batch.ShardLine]:
    return list(shards_of(rows, folder, **(ASK | options)))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def content(folder: Path, lines: list[gemini_batch.ShardLine]) -> bytes:
    return b"".join((folder / line["uri"]).read_bytes() for line in lines if line["requests"])


def batches(*tables: Mapping[str, Any]) -> Iterator[Any]:
    for table in tables:
        yield pa.record_batch(dict(table))


@pytest.mark.parametrize("number", range(len(RECIPES)))
def test_a_row_becomes_the_same_line_as_in_a_table(number: int, tmp_path: Path) -> None:
    recipe = dict(RECIPES[number])
    table = ODD.take(recipe.pop("only", [0, 1, 2, 3]))
    pq.write_table(table, tmp_path / "table.parquet")
    asyncio.run(prepare(needed_table(tmp_path / "table.parquet", recipe), tmp_path / "requests.jsonl"))  # type: ignore[arg-type]

    lines = made(tmp_path / "shards", table.to_batches(max_chunksize=2), **recipe)

    expected = (tmp_path / "requests.jsonl").read_bytes()
    assert content(tmp_path / "shards", lines) == expected
    assert expected.count(b"\n") == sum(line["requests"] for line in lines) > 0
    keys = keys_of(take_snapshot(Given(table), tmp_path), making.keyed_recipe(recipe)[0].key, tmp_path)  # type: ignore[arg-type]
    sent = [json.loads(line)["key"] for line in expected.splitlines()]
    assert [key for key in keys if key in sent] == sent


def test_shards_are_cut_by_rows_however_the_rows_come(tmp_path: Path) -> None:
    apart = made(tmp_path, ROWS.to_batches(max_chunksize=3), rows_per_shard=4)
    assert made(tmp_path, [ROWS], rows_per_shard=4) == apart
    assert made(tmp_path, ROWS.to_pylist(), rows_per_shard=4) == apart
    assert made(tmp_path, [ROWS.slice(0, 0), ROWS], rows_per_shard=4) == apart

    assert [line["requests"] for line in apart] == [4, 4, 2]
    assert len(names(tmp_path)) == 3
    for line in apart:
        data = (tmp_path / line["uri"]).read_bytes()
        assert (line["bytes"], line["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
        assert line["longest"] == max(map(len, data.splitlines(keepends=True)))


def test_a_shard_is_there_before_later_rows_are_asked_for(tmp_path: Path) -> None:
    asked: list[int] = []

    def rows() -> Iterator[Any]:
        for number in range(10):
            asked.append(number)
            yield pa.record_batch({"id": [f"r{number}"], "text": ["words"]})

    first = next(shards_of(rows(), tmp_path, rows_per_shard=2, **ASK))

    assert (tmp_path / first["uri"]).exists()
    assert max(asked) <= 2


def test_the_manifest_is_the_same_for_lines_in_any_order(tmp_path: Path) -> None:
    lines = made(tmp_path, [ROWS], rows_per_shard=4)
    first = write_manifest(lines, tmp_path).read_bytes()
    assert write_manifest(reversed(lines), tmp_path).read_bytes() == first
    assert write_manifest((dict(line, more="of an engine") for line in lines), tmp_path).read_bytes() == first


def test_shards_are_worked_off_and_each_row_has_its_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEMINI_BATCH_HOME", str(tmp_path / "home"))
    rows = pa.table({"id": ["a", "b", "c"], "text": ["one", None, "three"]})
    manifest = write_manifest(made(tmp_path / "shards", [rows], rows_per_shard=1), tmp_path / "shards")
    with gemini_batch.GeminiBatch(offline=True) as client:
        found = client.run_shards(manifest, output=tmp_path / "answers")

    assert (found.shards, found.requests, found.verdicts) == (2, 2, {"succeeded": 2})
    assert len([name for name in names(tmp_path / "answers") if name.endswith(".parquet")]) == 2


def test_skipped_rows_are_listed_and_a_shard_of_them_alone_is_none(tmp_path: Path) -> None:
    rows = {"id": ["a", "b", "c"], "text": ["", None, "words"]}
    lines = made(tmp_path, batches(rows), rows_per_shard=2)
    write_manifest(lines, tmp_path)

    assert [(line["requests"], line["skipped"]) for line in lines] == [(0, 2), (1, 0)]
    listed = [json.loads(line) for line in (tmp_path / lines[0]["uri"]).read_bytes().splitlines()]
    assert listed[0] == {"key": "a", "reason": "EMPTY_PROMPT", "message": "`text` is empty."}
    assert json.loads((tmp_path / "skipped.jsonl").read_bytes())["skipped"] == 2
    assert (tmp_path / "manifest.jsonl").read_bytes().count(b"\n") == 1


def test_without_skipped_rows_there_is_no_list_of_earlier_ones(tmp_path: Path) -> None:
    write_manifest(made(tmp_path, batches({"id": ["a", "b"], "text": ["x", ""]})), tmp_path)
    assert "skipped.jsonl" in names(tmp_path)
    write_manifest(made(tmp_path, batches({"id": ["a"], "text": ["x"]})), tmp_path)
    assert "skipped.jsonl" not in names(tmp_path)


# What is refused -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ids", "says"),
    [
        (["a", "b", "a"], "Rows 1 and 3 have the same key 'a'. Use another column, or several of them"),
        (["a", None, "c"], "Row 2: the key has no value"),
        (["a", "", "c"], "Row 2: the key has no value"),
    ],
)
def test_a_key_that_is_no_key_leaves_nothing(ids: list[str | None], says: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput) as caught:
        made(tmp_path / "shards", batches({"id": ids, "text": ["x"] * 3}))

    assert says in str(caught.value)
    assert "this shard was not written" in str(caught.value)
    assert "--key-duplicates" not in str(caught.value)
    assert names(tmp_path / "shards") == []


def test_a_key_in_two_shards_is_named_and_there_is_no_manifest(tmp_path: Path) -> None:
    lines = made(tmp_path, batches({"id": ["a", "b", "a"], "text": ["x", "y", ""]}), rows_per_shard=1)

    with pytest.raises(UsageError, match=r"Several rows have the same key: 'a' \(2 times\)\."):
        write_manifest(lines, tmp_path)

    assert [name for name in names(tmp_path) if not name.startswith("skipped-")] == []


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"key": None}, "no_key"),
        ({"prompt": "{{ tex }}"}, "no_column"),
        ({"prompt": None}, "no_prompt"),
        ({"sql": "SELECT 1"}, "bad_argument"),
        ({"key_duplicates": "number"}, "bad_argument"),
        ({"rows_per_shard": 0}, "bad_argument"),
        ({"temperature": 99.0}, "invalid_input"),
    ],
)
def test_wrong_options_are_said(options: dict[str, Any], code: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        made(tmp_path / "shards", [ROWS], **options)
    assert caught.value.reason_code == code
    assert names(tmp_path / "shards") == []


def test_what_the_source_raises_is_raised(tmp_path: Path) -> None:
    def rows() -> Iterator[Any]:
        yield from ROWS.to_batches()
        raise KeyError("no more")

    with pytest.raises(KeyError, match="no more"):
        made(tmp_path, rows())

    def lost() -> Iterator[Any]:
        yield {"id": 1, "text": "x"}
        raise FileNotFoundError("rows.csv")

    with pytest.raises(FileNotFoundError, match=r"rows\.csv"):
        made(tmp_path, lost())
    with pytest.raises(UsageError, match="different columns or types"):
        made(tmp_path, batches({"id": ["a"], "text": ["x"]}, {"id": [1], "text": ["x"]}))
    with pytest.raises(UsageError, match="all Arrow batches, or all mappings"):
        made(tmp_path, [ROWS, {"id": "a"}])
    assert names(tmp_path) == []


def test_the_same_requests_in_other_shards_leave_the_first_ones(tmp_path: Path) -> None:
    """Engines do not always give rows in the same order, and what was sent is known by its shard."""
    write_manifest(made(tmp_path, [ROWS], rows_per_shard=4), tmp_path)
    before = {name: (tmp_path / name).read_bytes() for name in names(tmp_path)}

    turned = ROWS.take(list(range(9, -1, -1)))
    again = write_manifest(made(tmp_path, [turned], rows_per_shard=3), tmp_path)

    assert again == tmp_path / "manifest.jsonl"
    assert {name: (tmp_path / name).read_bytes() for name in names(tmp_path)} == before


@pytest.mark.parametrize("options", [{}, {"prompt": "On {{ text }}"}, {"key": ["id", "text"]}])
def test_other_requests_do_not_take_the_place_of_those_that_were_named(options: dict[str, Any], tmp_path: Path) -> None:
    write_manifest(made(tmp_path, [ROWS], rows_per_shard=4), tmp_path)
    before = {name: (tmp_path / name).read_bytes() for name in names(tmp_path)}
    rows = ROWS if options else ROWS.slice(1)

    with pytest.raises(UsageError, match="would be paid for again") as caught:
        write_manifest(made(tmp_path, [rows], **options), tmp_path)

    assert caught.value.reason_code == "other_shards"
    assert {name: (tmp_path / name).read_bytes() for name in names(tmp_path)} == before


def test_a_file_that_is_no_manifest_of_shards_stays(tmp_path: Path) -> None:
    (tmp_path / "manifest.jsonl").write_text('{"uri":"a","sha256":"0","requests":1}\n')
    with pytest.raises(UsageError, match="not a manifest of shards"):
        write_manifest(made(tmp_path, [ROWS]), tmp_path)
    assert (tmp_path / "manifest.jsonl").read_text() == '{"uri":"a","sha256":"0","requests":1}\n'


def test_shards_that_are_elsewhere_are_missed(tmp_path: Path) -> None:
    lines = made(tmp_path / "there", [ROWS])
    (tmp_path / "here").mkdir()
    with pytest.raises(UsageError, match="Name a folder that all machines share"):
        write_manifest(lines, tmp_path / "here")
    with pytest.raises(UsageError, match="not a line of `shards_of`"):
        write_manifest([{"uri": "a"}], tmp_path / "here")
    assert names(tmp_path / "here") == []


def test_without_any_request_there_is_nothing_to_send(tmp_path: Path) -> None:
    for rows, says in (
        ([], "There are no rows."),
        ([ROWS.slice(0, 2).set_column(1, "text", [["", ""]])], "2 rows are"),
    ):
        with pytest.raises(UsageError, match=says) as caught:
            write_manifest(made(tmp_path, rows), tmp_path)
        assert caught.value.reason_code == "nothing_to_send"
    assert "manifest.jsonl" not in names(tmp_path)


def test_a_folder_that_cannot_be_written_is_an_error_of_this_machine(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StateError, match="folder for the shards") as caught:
        made(tmp_path / "file", [ROWS])
    assert caught.value.next == "Name a folder that you can write to."


def test_a_full_disk_for_temporary_files_is_not_said_of_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(making, "take_snapshot", full)
    with pytest.raises(StateError, match="folder for temporary files") as caught:
        made(tmp_path / "shards", [ROWS])
    assert (caught.value.reason_code, caught.value.file) == ("disk_full", tempfile.gettempdir())


def test_a_bucket_is_refused_and_no_folder_gets_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for call in (lambda: made("s3://bucket/shards", [ROWS]), lambda: write_manifest([], "gs://bucket/shards")):
        with pytest.raises(UsageError, match="Name a folder") as caught:
            call()
        assert caught.value.reason_code == "bad_address"
    assert names(tmp_path) == []


def test_files_that_options_name_are_read_once_where_the_shards_are_asked_for(tmp_path: Path) -> None:
    asked = tmp_path / "prompt.txt"
    asked.write_text("About {{ text }}")
    maker = ShardMaker.of(tmp_path / "shards", 10, {"prompt_file": asked, "key": "id"})
    asked.unlink()
    assert [line["requests"] for line in maker.shards([ROWS])] == [10]


# Answers -------------------------------------------------------------------------------------------------------------


def answered(
    folder: Path, shards: Path, models: Sequence[str | None], backend: str = "https://x", *, methods: Sequence[str] = ()
) -> list[str]:
    """A manifest of answers with lines of one shard after the other, by models; returns the files that it names."""
    folder.mkdir(exist_ok=True)
    hashes = [json.loads(line)["sha256"] for line in shards.read_bytes().splitlines()]
    lines, files = [], []
    for number, model in enumerate(models):
        file = folder / f"{number}.parquet"
        file.write_bytes(b"PAR1")
        files.append(str(file))
        result = {"file": f"{number}.jsonl", "bytes": 1, "sha256": ""}
        table = {"file": file.name, "bytes": 4, "sha256": ""}
        line = {
            "uri": f"{number}.jsonl",
            "sha256": hashes[number % len(hashes)],
            "requests": 5,
            "verdicts": {"succeeded": 5},
            "run": f"run-{number}",
            "usd": None,
            "answers": [result, table],
        }
        method = methods[number] if methods else "generateContent"
        terms = {"method": method, "model": model, "backend": backend}
        lines.append(line if model is None else {**line, **terms})
    (folder / "manifest.jsonl").write_bytes(b"".join(json.dumps(line).encode() + b"\n" for line in lines))
    return files


def test_the_answers_of_shards_are_those_of_the_last_run(tmp_path: Path) -> None:
    shards = write_manifest(made(tmp_path / "shards", [ROWS], rows_per_shard=5), tmp_path / "shards")
    folder = tmp_path / "answers"
    for models in (("b", "b"), ("b", "b", "a", "a"), (None, None), ("b", None)):
        files = answered(folder, shards, models)
        assert answer_files(shards, folder) == files[:2]
    files = answered(folder, shards, ("b", "e"), methods=("generateContent", "embedContent"))
    assert answer_files(shards, folder) == files


@pytest.mark.parametrize(
    ("earlier", "now", "said"),
    [(("a", "https://x"), ("b", "https://x"), "b here"), (("a", "https://x"), ("a", "offline"), r"a \(offline\) here")],
)
def test_answers_of_two_models_are_not_mixed(
    tmp_path: Path, earlier: tuple[str, str], now: tuple[str, str], said: str
) -> None:
    shards = write_manifest(made(tmp_path / "shards", [ROWS], rows_per_shard=5), tmp_path / "shards")
    files = answered(tmp_path / "answers", shards, now[:1], now[1])
    lines = (tmp_path / "answers" / "manifest.jsonl").read_bytes()
    answered(tmp_path / "answers", shards, earlier[:1] * 2, earlier[1])
    with (tmp_path / "answers" / "manifest.jsonl").open("rb+") as file:
        others = file.read()
        file.seek(0)
        file.write(lines + others)
    with pytest.raises(UsageError, match=f"1 of 2 shards have no answers of {said}") as refused:
        answer_files(shards, tmp_path / "answers")
    assert refused.value.reason_code == "shards_unanswered"
    assert answer_files(shards, tmp_path / "answers", partial=True) == files


def test_answers_that_are_not_there_are_refused(tmp_path: Path) -> None:
    shards = write_manifest(made(tmp_path / "shards", [ROWS], rows_per_shard=5), tmp_path / "shards")
    with pytest.raises(UsageError) as refused:
        answer_files(shards, tmp_path / "answers")
    assert refused.value.reason_code == "bad_manifest"
    (file, _) = answered(tmp_path / "answers", shards, ["b", "b"])
    (tmp_path / "answers" / "0.parquet").write_bytes(b"")
    with pytest.raises(UsageError) as refused:
        answer_files(shards, tmp_path / "answers")
    assert (refused.value.reason_code, refused.value.file) == ("file_not_found", file)


# Daft ----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def no_daft(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "daft", None)


@pytest.mark.usefixtures("no_daft")
def test_without_daft_it_says_what_to_install(tmp_path: Path) -> None:
    for call in (
        lambda: daft.request_shards(ROWS, tmp_path, **ASK),
        lambda: daft.join(ROWS, tmp_path, shards=tmp_path / "manifest.jsonl", **ASK),
    ):
        with pytest.raises(UsageError, match=r"pip install 'gemini-batch\[daft\]'") as caught:
            call()
        assert caught.value.reason_code == "missing_extra"
    assert names(tmp_path) == []
