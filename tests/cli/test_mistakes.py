# ruff: noqa: E501 - a table reads best with one case a line
"""Every mistake of a user: what is said, where, the exit code; and that nothing was sent and nothing half-written."""

from __future__ import annotations

import gzip
import os
import sqlite3
from importlib import import_module
from typing import TYPE_CHECKING

import click
import pytest

from cli.conftest import KEY, Shell, Trap, request
from gemini_batch.cli import COMMANDS
from gemini_batch.intake import checking
from gemini_batch.validation import validate

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

GOOD = b'{"key":"a","request":{"contents":[{"parts":[{"text":"Hello"}]}]}}'
EMBED = {"key": "e", "request": {"content": {"parts": [{"text": "x"}]}}}


def raw(name: str, data: bytes) -> Callable[[Shell], object]:
    return lambda shell: (shell.folder / name).write_bytes(data)


def lines(*found: object, name: str = "in.jsonl") -> Callable[[Shell], object]:
    return lambda shell: shell.write(name, *found)


def sparse(shell: Shell) -> None:
    with (shell.folder / "in.jsonl").open("wb") as file:
        file.write((GOOD + b"\n") * 2000)
        file.truncate(2 * 1024**3 + 1)


def fifo(shell: Shell) -> None:
    os.mkfifo(shell.folder / "in.jsonl")


CREATE = ("create", "in.jsonl")

#: name: (what is spoiled, the words, what is said — each piece must be there)
CASES: dict[str, tuple[Callable[[Shell], object], tuple[str, ...], tuple[str, ...]]] = {
    # files
    "missing file": (lambda _: None, CREATE, ("in.jsonl", "does not exist")),
    "missing file, near name": (lines(request(), name="in.json"), CREATE, ("in.jsonl", "does not exist")),
    "a folder": (lambda s: (s.folder / "in.jsonl").mkdir(), CREATE, ("in.jsonl", "folder")),
    "a pipe": (fifo, CREATE, ("in.jsonl",)),
    "empty": (raw("in.jsonl", b""), CREATE, ("in.jsonl", "empty")),
    "blank lines only": (raw("in.jsonl", b"\n \n\r\n"), CREATE, ("in.jsonl", "blank")),
    "an array": (raw("in.json", b"[" + GOOD + b"]"), ("create", "in.json"), ("array", "validate in.json --fix -o in.jsonl")),
    "an array called jsonl": (raw("in.jsonl", b"[" + GOOD + b"]"), CREATE, ("array",)),
    "csv": (raw("in.csv", b"key,text\na,b\n"), ("create", "in.csv"), ("in.csv", "table")),
    "gzip": (raw("in.jsonl", gzip.compress(GOOD)), CREATE, ("gzip", "gunzip")),
    "zip": (raw("in.jsonl", b"PK\x03\x04rest"), CREATE, ("zip",)),
    "parquet": (raw("in.jsonl", b"PAR1" + b"\0" * 50), CREATE, ("Parquet",)),
    "utf-16": (raw("in.jsonl", GOOD.decode().encode("utf-16")), CREATE, ("UTF-16", "iconv")),
    "binary": (raw("in.jsonl", bytes(range(256)) * 4), CREATE, ("in.jsonl",)),
    "2 GB + 1": (sparse, CREATE, ("in.jsonl", "GB")),
    # lines
    "commas between": (lines(GOOD + b",", GOOD), CREATE, ("in.jsonl:1", "comma")),
    "two objects": (lines(GOOD + GOOD), CREATE, ("in.jsonl:1", "one JSON object")),
    "NaN": (lines(b'{"key":"a","request":{"contents":[{"parts":[{"text":"x"}]}],"generationConfig":{"temperature":NaN}}}'), CREATE, ("in.jsonl:1", "NaN")),
    "lone surrogate": (lines(b'{"key":"a","request":{"contents":[{"parts":[{"text":"\\ud83d"}]}]}}'), CREATE, ("in.jsonl:1", "surrogate")),
    "not utf-8": (lines(b'{"key":"\xff"}'), CREATE, ("in.jsonl:1", "UTF-8")),
    "cut line": (lines(GOOD[:-3]), CREATE, ("in.jsonl:1",)),
    "python dict": (lines(b"{'key': 'a'}"), CREATE, ("in.jsonl:1", "quot")),
    "nested deeply": (lines(b'{"key":"a","request":' + b"[" * 100_000 + b"]" * 100_000 + b"}"), CREATE, ("in.jsonl:1", "deep")),
    "a string": (lines("hello"), CREATE, ("in.jsonl:1", "object")),
    "a number": (lines(3), CREATE, ("in.jsonl:1", "object")),
    "pretty-printed": (raw("in.jsonl", b'{\n  "key": "a",\n  "request": {}\n}\n'), CREATE, ("in.jsonl", "one")),
    "second of three": (lines(request("a"), b"{bad", request("c")), CREATE, ("in.jsonl:2",)),
    # keys
    "no key": (lines({"request": request()["request"]}), CREATE, ("in.jsonl:1", "key")),
    "number as key": (lines(request(7)), CREATE, ("in.jsonl:1:key", '"7"')),
    "null as key": (lines(request(None)), CREATE, ("in.jsonl:1:key",)),
    "empty key": (lines(request("")), CREATE, ("in.jsonl:1:key", "empty")),
    "key twice": (lines(request("a"), request("b"), request("a")), CREATE, ("in.jsonl:3:key", "'a'", "line 1")),
    "key twice, once in a bad line": (lines(request("a"), {"key": "a"}), CREATE, ("in.jsonl:2:key", "line 1")),
    "key with escape codes twice": (lines(request("\x1b[31m"), request("\x1b[31m")), CREATE, ("in.jsonl:2:key", "\\x1b")),
    "custom_id": (lines({"custom_id": "a", "request": request()["request"]}), CREATE, ("custom_id", "key")),
    # requests
    "no request": (lines({"key": "a"}), CREATE, ("in.jsonl:1", "request")),
    "no contents": (lines({"key": "a", "request": {}}), CREATE, ("in.jsonl:1", "contents")),
    "contents beside the key": (lines({"key": "a", "contents": [{"parts": [{"text": "x"}]}]}), CREATE, ("request",)),
    "contents as text": (lines({"key": "a", "request": {"contents": "hi"}}), CREATE, ("request.contents", "parts")),
    "empty contents": (lines({"key": "a", "request": {"contents": []}}), CREATE, ("request.contents",)),
    "prompt": (lines({"key": "a", "prompt": "x"}), CREATE, ("prompt", "contents")),
    "messages": (lines({"key": "a", "request": {"messages": []}}), CREATE, ("messages", "contents")),
    "config beside request": (lines({**request(), "config": {}}), CREATE, ("config", "generationConfig")),
    "config in request": (lines(request(config={})), CREATE, ("config", "generationConfig")),
    "temperature in request": (lines(request(temperature=1)), CREATE, ("temperature", "generationConfig")),
    "max_tokens": (lines(request(max_tokens=5)), CREATE, ("max_tokens", "maxOutputTokens")),
    "thinking_config in request": (lines(request(thinking_config={})), CREATE, ("thinking_config", "generationConfig")),
    "system instruction as text": (lines(request(systemInstruction="be nice")), CREATE, ("systemInstruction", "parts")),
    "mistyped setting": (lines(request(generationConfig={"temprature": 1})), CREATE, ("temprature", "temperature")),
    "cached content and system": (lines(request(cachedContent="cachedContents/x", systemInstruction={"parts": [{"text": "x"}]})), CREATE, ("cachedContent",)),
    "model beside request": (lines({**request(), "model": "x"}), CREATE, ("in.jsonl:1:model", "has no effect")),
    "openai line": (lines({"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": {}}), CREATE, ("custom_id",)),
    "embedding and text lines": (lines(request("a"), EMBED), CREATE, ("in.jsonl:2", "embedding", "two files")),
    # models
    "gone model": (lines(request()), (*CREATE, "-m", "gemini-3-pro-preview"), ("--model", "shut down", "gemini-3.1-pro-preview")),
    "not batchable": (lines(request()), (*CREATE, "-m", "veo-3.1-generate-preview"), ("--model", "does not support batches")),
    "text lines, embedding model": (lines(request()), (*CREATE, "-m", "gemini-embedding-001"), ("--model", "embeddings")),
    "embedding lines, text model": (lines(EMBED), (*CREATE, "-m", "gemini-2.5-flash"), ("--model", "embeddings")),
    "speech from a text model": (lines(request(generationConfig={"responseModalities": ["AUDIO"]})), CREATE, ("--model", "speech", "-tts")),
    "pictures from a text model": (lines(request(generationConfig={"responseModalities": ["TEXT", "IMAGE"]})), CREATE, ("--model", "pictures", "image")),
    "model with a slash path": (lines(request()), (*CREATE, "-m", "../x"), ("--model", "name")),
    "model of spaces": (lines(request()), (*CREATE, "-m", " "), ("--model",)),
    # arguments
    "no file": (lambda _: None, ("create",), ("There is no input", "--sql")),
    "two files": (lines(request()), ("create", "in.jsonl", "more.jsonl"), ("more.jsonl",)),
    "unknown option": (lambda _: None, ("create", "--fast"), ("--fast", "create --help")),
    "unknown command": (lambda _: None, ("submit",), ("submit", "--help")),
    "limit 0": (lines(request()), (*CREATE, "--limit", "0"), ("--limit",)),
    "limit of words": (lines(request()), (*CREATE, "--limit", "ten"), ("--limit",)),
    "empty name": (lines(request()), (*CREATE, "--name", ""), ("--name",)),
    "endless name": (lines(request()), (*CREATE, "--name", "x" * 600), ("--name", "512")),
    "file name with escape codes": (lambda _: None, ("create", "in\x1b[2J.jsonl"), ("in\\x1b[2J.jsonl", "does not exist")),
    "name with escape codes": (lines(request()), (*CREATE, "--name", "a\x1b[2J"), ("--name", "printable")),
    "no job name": (lambda _: None, ("status",), ("JOB_NAME",)),
    "a path as job name": (lambda _: None, ("status", "../../etc/passwd"), ("not a job name", "batches/")),
    "an empty job name": (lambda _: None, ("results", ""), ("name of the job is empty",)),
    "a job name of 300 characters": (lambda _: None, ("status", "x" * 300), ("not a job name",)),
    "an emoji as job name": (lambda _: None, ("cancel", "batches/🚀"), ("not a job name",)),
    "an unknown run": (lambda _: None, ("results", "run-nothere"), ("run-nothere", "GEMINI_BATCH_HOME")),
    "a poll of words": (lambda _: None, ("status", "batches/a", "--poll", "soon"), ("--poll",)),
    "results into a folder": (lambda _: None, ("results", "batches/a", "-o", "."), ("--output", "folder")),
    "results into nowhere": (lambda _: None, ("results", "batches/a", "-o", "no/where.jsonl"), ("--output", "mkdir -p no")),
    "results over a text": (raw("thesis.txt", b"my notes\n"), ("results", "batches/a", "-o", "thesis.txt"), ("thesis.txt", "would be lost")),
    "results over requests": (lines(request()), ("results", "batches/a", "-o", "in.jsonl"), ("in.jsonl", "something other than results")),
}  # fmt: skip


@pytest.mark.parametrize("case", list(CASES))
def test_a_mistake(shell: Shell, trap: Trap, monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    """Exit code 2, the place, what to do; nobody called, nothing written."""
    spoil, words, said = CASES[case]
    monkeypatch.setenv("GEMINI_API_KEY", KEY)
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", trap.url)
    spoil(shell)
    before = shell.files()

    done = shell.run(*words)

    assert done.code == 2, done
    assert done.out == ""
    for piece in said:
        assert piece in done.err, (piece, done.err)
    assert "\x1b" not in done.err
    assert "Something unexpected" not in done.err
    assert trap.callers == 0
    assert {path for path in shell.files() - before if not path.endswith("runs")} == set()


@pytest.mark.parametrize("case", ["missing file", "no key", "gone model", "unknown option", "key twice"])
def test_a_mistake_as_json(shell: Shell, trap: Trap, monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    """The same as one document on stdout; stderr stays empty."""
    spoil, words, _ = CASES[case]
    monkeypatch.setenv("GEMINI_API_KEY", KEY)
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", trap.url)
    spoil(shell)

    done = shell.run(*words, "--json")

    assert (done.code, done.err) == (2, "")
    assert set(done.document) == {"version", "command", "error", "exit_code"}
    assert {"code", "message", "file", "line", "field", "next"} <= set(done.document["error"])


def test_the_same_problem_in_many_lines_is_said_once(shell: Shell) -> None:
    shell.write("in.jsonl", *[request("same") for _ in range(3001)])

    shown = shell.run("create", "in.jsonl", "--offline")
    everything = shell.run("create", "in.jsonl", "--offline", "--json")

    assert shown.err.count("is already used") == 1
    assert "the same in 2,999 more: line 3, 4, 5, 6, 7, …" in shown.err
    assert everything.document["error"]["total"] == 3000
    assert len(everything.document["error"]["problems"]) == 3000


def test_twenty_problems_are_shown_and_the_rest_is_counted(shell: Shell) -> None:
    shell.write("in.jsonl", *[request(str(n // 2)) for n in range(6000)])

    for command in ("create", "validate"):
        shown = shell.run(command, "in.jsonl", "--offline")
        assert shown.err.count("is already used") == 20, command
        assert "2,980 more" in shown.err


def test_results_in_the_place_of_requests_are_one_mistake(shell: Shell) -> None:
    """Not twenty: what the file is, and the two ways on."""
    shell.write("results.jsonl", *[{"key": str(n), "verdict": "failed", "error": {}, "attempt": 1} for n in range(30)])

    for command in ("create", "validate", "run"):
        done = shell.run(command, "results.jsonl", "--offline")
        assert done.code == 2
        assert len(done.err.splitlines()) == 1
        assert "results, not requests" in done.err
        assert "gemini-batch retry" in done.err


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({}, ("No API key", "--offline", "export GEMINI_API_KEY")),
        ({"GEMINI_API_KEY": "with space"}, ("API key", "characters")),
        ({"GEMINI_API_KEY": "k\r\n"}, ("API key",)) if os.name == "nt" else ({"GEMINI_API_KEY": "schlüssel"}, ("API key",)),
        ({"GEMINI_API_KEY": "k", "GOOGLE_GEMINI_BASE_URL": "not an address"}, ("GOOGLE_GEMINI_BASE_URL",)),
        ({"GEMINI_API_KEY": "k", "GOOGLE_GEMINI_BASE_URL": "http://user:pw@host"}, ("GOOGLE_GEMINI_BASE_URL",)),
        ({"GEMINI_API_KEY": "k", "GEMINI_BATCH_POLL": "often"}, ("GEMINI_BATCH_POLL",)),
        *(
            ({"GEMINI_API_KEY": "k", "GEMINI_BATCH_POLL": odd}, ("GEMINI_BATCH_POLL", "from 0 to 86,400"))
            for odd in ("-1", "nan", "inf", "1e300", "86401")
        ),
        ({"GEMINI_API_KEY": "k", "GEMINI_BATCH_OFFLINE": "perhaps"}, ("GEMINI_BATCH_OFFLINE",)),
    ],
)  # fmt: skip
def test_a_mistake_in_the_environment(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], said: tuple[str, ...]
) -> None:
    shell.write("in.jsonl", request())
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    done = shell.run("create", "in.jsonl")

    assert done.code == 2, done
    for piece in said:
        assert piece in done.err


def float_options() -> list[tuple[str, str]]:
    commands = {word: import_module(f"gemini_batch.cli.{where}").command for word, (where, *_) in COMMANDS.items()}
    return [
        (word, option.opts[0])
        for word, command in commands.items()
        for option in command.params
        if isinstance(option.type, click.types.FloatParamType)
    ]


@pytest.mark.parametrize(("word", "option"), float_options())
def test_a_number_that_is_none(shell: Shell, word: str, option: str) -> None:
    """Every option that takes a fraction refuses what is no number, and what is far beyond its use."""
    for odd in ("nan", "inf", "1e400", "1e300", "-1"):
        done = shell.run(word, option, odd, *(("-o", "out.jsonl") if word == "prepare" else ()))
        assert done.code == 2, (odd, done)
        assert option in done.err


def test_a_dotenv_does_not_move_the_key_elsewhere(shell: Shell, trap: Trap, monkeypatch: pytest.MonkeyPatch) -> None:
    """Invariant 9: a file in a folder cannot send the user's key to an address of its choice."""
    shell.write("in.jsonl", request())
    (shell.folder / ".env").write_text(f"GOOGLE_GEMINI_BASE_URL={trap.url}\n")
    monkeypatch.setenv("GEMINI_API_KEY", KEY)

    done = shell.run("create", "in.jsonl")

    assert done.code == 2
    assert ".env" in done.err
    assert trap.callers == 0


def newer(path: Path) -> None:
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 99")
    db.close()


def damaged(path: Path) -> None:
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE runs (x)")
    db.executemany("INSERT INTO runs VALUES (?)", [("x" * 500,)] * 100)
    db.commit()
    db.close()
    data = bytearray(path.read_bytes())
    data[100:6000] = b"\xff" * 5900
    path.write_bytes(bytes(data))


def home_of_a_file(shell: Shell) -> None:
    shell.home.write_text("x")


def home_with(spoil: Callable[[Path], None]) -> Callable[[Shell], None]:
    def work(shell: Shell) -> None:
        shell.home.mkdir()
        spoil(shell.home / "ledger.db")

    return work


def nonsense(path: Path) -> None:
    path.write_bytes(b"not a database" * 100)


HOMES: dict[str, tuple[Callable[[Shell], None], str]] = {
    "a file": (home_of_a_file, "GEMINI_BATCH_HOME"),
    "no database": (home_with(nonsense), "damaged"),
    "newer ledger": (home_with(newer), "newer gemini-batch"),
    "damaged later": (home_with(damaged), "damaged"),
}


@pytest.mark.parametrize("case", list(HOMES))
def test_a_home_that_cannot_be_used(shell: Shell, trap: Trap, monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    """Exit code 3, the file's name, what to do; nothing sent."""
    spoil, said = HOMES[case]
    monkeypatch.setenv("GEMINI_API_KEY", KEY)
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", trap.url)
    shell.write("in.jsonl", request())
    spoil(shell)

    done = shell.run("create", "in.jsonl")

    assert done.code == 3, done
    assert said in done.err
    assert str(shell.home) in done.err
    assert trap.callers == 0


def test_the_good_file_is_good(shell: Shell) -> None:
    """What the cases above spoil goes through: BOM, CR LF, blank lines, no last line end."""
    (shell.folder / "in.jsonl").write_bytes(b"\xef\xbb\xbf" + GOOD + b"\r\n\r\n" + GOOD.replace(b'"a"', b'"b"'))

    done = shell.run("create", "in.jsonl", "--offline")

    assert done.code == 0
    assert done.out.startswith("batches/")


def test_two_documents_do_not_share_stdout(shell: Shell) -> None:
    done = shell.run("results", "batches/a", "--json", "-o", "-")

    assert (done.code, done.err) == (2, "")
    assert "stdout" in done.document["error"]["message"]


def test_too_much_to_send_inline(shell: Shell) -> None:
    big = {"contents": [{"parts": [{"text": "x" * 1_100_000}]}]}
    shell.write("in.jsonl", *[{"key": f"k{n}", "request": big} for n in range(20)])

    done = shell.run("create", "in.jsonl", "--offline", "--inline")

    assert done.code == 2
    assert "20,971,520" in done.err
    assert "Leave out --inline" in done.err


def test_a_file_that_changes_while_it_is_read(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is sent of a file that somebody is still writing."""
    path = shell.write("in.jsonl", request("a"), request("b"))
    real = validate.check_line

    def growing(data: bytes, number: int, _: object) -> object:
        with path.open("ab") as file:
            file.write(GOOD + b"\n")
            return real(data, number) if number == 1 else ()

    monkeypatch.setattr(checking, "check_line", growing)
    done = shell.run("create", "in.jsonl", "--offline", "--limit", "1")

    assert done.code == 2
    assert "changed while it was read" in done.err
