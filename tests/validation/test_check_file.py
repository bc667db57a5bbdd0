"""A file as a whole: taken for what it is, or refused with the way to make it right."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import pytest

from gemini_batch.errors import UsageError
from gemini_batch.validation.inputfile import check_file

LINE = b'{"key": "a", "request": {"contents": [{"parts": [{"text": "Hello"}]}]}}\n'


def refusal(path: Path, *, limit: int | None = None) -> UsageError:
    with pytest.raises(UsageError) as caught:
        check_file(path, limit=limit)
    assert caught.value.file == str(path)
    assert caught.value.next
    return caught.value


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("requests.jsonl", LINE),
        ("requests.json", LINE),
        ("requests.JSON", LINE * 2),
        ("requests.ndjson", LINE),
        ("requests.txt", LINE),
        ("requests", LINE),
        ("REQUESTS.JSONL", LINE),
        ("bom.jsonl", b"\xef\xbb\xbf" + LINE),
        ("windows.jsonl", LINE.replace(b"\n", b"\r\n") * 2),
        ("blank.jsonl", b"\n \n" + LINE),
        ("no-end.jsonl", LINE.strip()),
        ("separators.jsonl", LINE.replace(b"Hello", "a\u2028b\u0085c".encode())),
        ("wrong-but-a-line.jsonl", b"{'key': 1}\n"),
        ("prose.txt", b"Hello, world\nThis is a text.\n"),
        ("a-header-alone.jsonl", b"id,text\n"),
        ("one-column.jsonl", b"text\nhi\n"),
        ("uneven.jsonl", b"id,text\n1,hi,there\n"),
        ("same-names.jsonl", b"id,id\n1,2\n"),
        ("key-words.jsonl", b'"key": "a", "x"\n"key": "b", "x"\n'),
    ],
)
def test_what_may_hold_requests_passes(tmp_path: Path, name: str, data: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    check_file(path)
    check_file(path, limit=len(data))


@pytest.mark.parametrize(
    ("name", "data", "code", "message", "fix"),
    [
        ("empty.jsonl", b"", "empty", "is empty", '{"key"'),
        ("blank.jsonl", b"\n\n  \n", "empty", "only blank lines", '{"key"'),
        ("bom-only.jsonl", b"\xef\xbb\xbf", "empty", "only blank lines", '{"key"'),
        ("a.jsonl", gzip.compress(LINE, mtime=0), "not_jsonl", "gzip", "gunzip -c"),
        ("a.jsonl.gz", gzip.compress(LINE, mtime=0), "not_jsonl", "gzip", "gunzip -c"),
        ("a.jsonl", b"PK\x03\x04rest", "not_jsonl", "zip archive", "Unzip it"),
        ("a.parquet", b"PAR1rest", "not_jsonl", "Parquet", "a.parquet --prompt '… {{ COLUMN }} …'"),
        ("a.jsonl", b"PAR1rest", "not_jsonl", "Parquet", "a.jsonl --prompt"),
        ("a.xlsx", b"PK\x03\x04rest", "not_jsonl", "a spreadsheet", "a.xlsx --prompt '… {{ COLUMN }} …'"),
        ("a.jsonl", b"\x28\xb5\x2f\xfdrest", "not_jsonl", "Zstandard", "zstd -dc"),
        ("a.jsonl", b"BZh9rest", "not_jsonl", "bzip2", "bunzip2"),
        ("a.jsonl", b"\xfd7zXZ\x00rest", "not_jsonl", "xz", "xz -dc"),
        ("a.db", b"SQLite format 3\x00rest", "not_jsonl", "SQLite", "a.db::TABLE"),
        ("a.jsonl", LINE.decode().encode("utf-16"), "not_utf8", "UTF-16", "iconv -f UTF-16"),
        ("a.jsonl", LINE.decode().encode("utf-32"), "not_utf8", "UTF-32", "iconv -f UTF-32"),
        ("a.jsonl", LINE.decode().encode("utf-16-le"), "not_utf8", "UTF-16-LE", "iconv -f UTF-16-LE"),
        ("a.jsonl", LINE.decode().encode("utf-16-be"), "not_utf8", "UTF-16-BE", "iconv -f UTF-16-BE"),
        ("a.jsonl", LINE + b"\x00\x01", "not_jsonl", "NUL", "how the file was created"),
        ("a.jsonl", b" [" + LINE.strip() + b"]", "json_array", "one JSON array", "a-2.jsonl"),
        ("a.json", b"[" + LINE.strip() + b"]", "json_array", "one JSON array", "a.jsonl"),
        ("a.json", b'{\n  "key": "a"\n}', "json_spread", "several lines", "--fix -o"),
        ("a.jsonl", b'{\r\n  "key": "a"\r\n}', "json_spread", "several lines", "--fix -o"),
        ("a.csv", b"id,text\n1,hi\n", "not_jsonl", "`.csv`", "a.csv --prompt '… {{ text }} …'"),
        ("a.tsv", b"id\ttext\n1\tHi, there\n", "not_jsonl", "a table", "a.tsv --prompt '… {{ text }} …'"),
        ("a.csv", b"review\nfine\n", "not_jsonl", "a table", "{{ COLUMN }}"),
        ("a.jsonl", b"\xef\xbb\xbfid;review text\n1;hi\n", "not_jsonl", "a table", '{{ row["review text"] }}'),
        ("a.jsonl", b'id,text,"note"\r\n1,"a\r\nlong, long one",\r\n', "not_jsonl", "a table", "{{ text }}"),
        ("a.txt", b"id|text\n1|hi\n" + b"2|x\n" * 40_000, "not_jsonl", "a table", "{{ text }}"),
        ("a.yaml", b"key: a\n", "not_jsonl", "YAML", ".jsonl"),
    ],
)
def test_what_cannot_hold_requests_is_refused(
    tmp_path: Path, name: str, data: bytes, code: str, message: str, fix: str
) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    error = refusal(path)
    assert error.reason_code == code
    assert message in error.message
    assert fix in str(error.next)
    assert error.exit_code == 2


RESULT = b'{"key":"a","verdict":"succeeded","response":{"candidates":[],"text":"Hi"},"attempt":1}\n'
LONG = b'{"key":"a \\" b","verdict":"succeeded","response":{"text":"' + b"x" * 100_000 + b'"},"attempt":1}\n'
RAW = b'{"response": {"candidates": []}, "key": "a"}\n'
FAILURE = b'{"key":"a","verdict":"failed","reason":"INTERNAL","line":{"key":"a","request":{"contents":[]}}}\n'


@pytest.mark.parametrize(
    ("data", "message", "fix"),
    [
        (RESULT * 30, "results, not requests", "gemini-batch retry"),
        (b"\n" + RESULT, "results, not requests", "gemini-batch retry"),
        (b"\xef\xbb\xbf" + RESULT, "results, not requests", "gemini-batch retry"),
        (b'{"key":"a","verdict":"missing","error":{},"attempt":1}\n', "results, not requests", "gemini-batch retry"),
        (LONG, "results, not requests", "retry RUN"),
        (RAW, "raw answers", "retry RUN"),
        (b'{"key": "a", "response": {"text": "' + b"x" * 100_000 + b'"}}\n', "raw answers", "retry RUN"),
        (b'{"key": "a", "error": {"code": 3, "message": "no"}}\n', "raw answers", "retry RUN"),
        (FAILURE, "results.jsonl --fix -o", "retry RUN"),
    ],
    ids=["results", "blank first", "bom", "only missing", "long line", "raw", "long raw", "raw error", "failures"],
)
def test_answers_in_the_place_of_requests_are_known_at_once(
    tmp_path: Path, data: bytes, message: str, fix: str
) -> None:
    """Not a problem a line, but one for the file, with the way on."""
    path = tmp_path / "results.jsonl"
    path.write_bytes(data)

    error = refusal(path)

    assert error.reason_code == "results_file"
    assert message in error.message
    assert fix in str(error.next)


@pytest.mark.parametrize(
    "line",
    [
        {"key": "a", "request": {"contents": []}, "response": "an old one, kept beside it"},
        {"key": "a", "request": {"contents": []}, "verdict": "a column of the user's"},
        {"key": "a", "response": "a slip, with the request below"},
    ],
)
def test_a_request_with_such_a_word_beside_it_is_no_result(tmp_path: Path, line: dict[str, object]) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text(json.dumps(line) + "\n")
    check_file(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    error = refusal(tmp_path / "nowhere.jsonl")
    assert error.reason_code == "file_not_found"
    assert "working folder" not in str(error.next)


def test_a_relative_name_is_told_with_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert str(tmp_path) in str(refusal(Path("nowhere.jsonl")).next)


@pytest.mark.skipif(os.name != "posix", reason="the folder one stands in can be removed on POSIX only")
def test_a_relative_name_in_a_folder_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert refusal(Path("nowhere.jsonl")).reason_code == "file_not_found"


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("requests.jsonl", b"[{}]"),
        ("requests.json", b"[{}]"),
        ("requests.jsonl", gzip.compress(LINE, mtime=0)),
        ("requests.jsonl.gz", gzip.compress(LINE, mtime=0)),
        ("requests.jsonl", LINE.decode().encode("utf-16")),
        ("requests.jsonl", b'{\n"key": 1}'),
    ],
    ids=["array", "json array", "gzip", "gz", "utf-16", "spread"],
)
def test_no_printed_command_would_overwrite_a_file(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / "requests.jsonl").write_bytes(LINE)
    (tmp_path / "requests-2.jsonl").write_bytes(LINE)
    (tmp_path / name).write_bytes(data)
    fix = str(refusal(tmp_path / name).next)
    assert str(tmp_path / "requests-3.jsonl") in fix
    assert f"{tmp_path}/requests.jsonl`" not in fix
    assert "requests-2" not in fix


def test_a_path_through_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(LINE)
    assert refusal(tmp_path / "file" / "requests.jsonl").reason_code == "file_not_found"


def test_a_name_that_no_file_can_have(tmp_path: Path) -> None:
    assert refusal(tmp_path / ("x" * 5000)).reason_code == "unreadable"
    assert refusal(tmp_path / "a\x00b").reason_code == "unreadable"


def test_a_folder(tmp_path: Path) -> None:
    assert "folder" in refusal(tmp_path).message


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the platform has no pipes in folders")
def test_a_pipe_is_refused_without_waiting_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jsonl")
    assert refusal(tmp_path / "pipe.jsonl").reason_code == "not_a_regular_file"


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="needs a user who can be refused a file")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = tmp_path / "secret.jsonl"
    path.write_bytes(LINE)
    path.chmod(0)
    assert refusal(path).reason_code == "unreadable"


def test_a_file_over_the_limit_is_sent_to_run(tmp_path: Path) -> None:
    path = tmp_path / "my requests.jsonl"
    path.write_bytes(LINE)
    error = refusal(path, limit=len(LINE) - 1)
    assert error.reason_code == "too_large"
    assert f"gemini-batch run '{path}'" in str(error.next)


def test_sizes_are_told_in_units_of_people(tmp_path: Path) -> None:
    path = tmp_path / "sparse.jsonl"
    with path.open("wb") as file:
        file.write(LINE + b" " * 65536)
        file.truncate(2_500_000_000)
    error = refusal(path, limit=2_000_000_000)
    assert "2.5 GB" in error.message
    assert "limit for one job is 2 GB" in error.message


def test_the_proposed_command_is_for_the_next_run(tmp_path: Path) -> None:
    """Offline stays offline; what costs money says so."""
    path = tmp_path / "my reviews.csv"
    path.write_bytes(b"id,text\n1,hi\n")
    assert str(refusal(path).next) == (
        f"gemini-batch run '{path}' --prompt '… {{{{ text }}}} …'  (sends a request for each row; this costs money)"
    )
    with pytest.raises(UsageError) as caught:
        check_file(path, offline=True)
    assert "--offline  (sends a request for each row)" in str(caught.value.next)


@pytest.mark.parametrize("data", [b"[" + LINE + b"]", b'{\n  "key": "a"\n}', FAILURE])
def test_what_can_be_fixed_is_taken_to_be_fixed(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(data)
    assert "--fix" in f"{refusal(path).message} {refusal(path).next}"
    check_file(path, fixing=True)
