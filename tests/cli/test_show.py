"""``show`` over real runs, offline: rows in pipes, on terminals and as JSON; filters; rows that have no answer."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import struct
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from cli.conftest import request

if TYPE_CHECKING:
    from pathlib import Path

    from cli.conftest import Done, Shell, Trap

SHORT = {"generationConfig": {"maxOutputTokens": 8}}


@pytest.fixture
def run(shell: Shell) -> str:
    """A finished run of three: the answer to `short` was cut off."""
    system = {"systemInstruction": {"parts": [{"text": "Be brief."}]}}
    shell.write("in.jsonl", request("a"), request("short", **SHORT), request("b", **system))
    done = shell.run("run", "in.jsonl", "--offline", "-o", "out.jsonl")
    assert done.code == 1, done.err
    return run_of(shell)


def run_of(shell: Shell) -> str:
    (found,) = (shell.home / "offline" / "runs").glob("run-*")
    return found.name


def rows(done: Done) -> list[dict[str, Any]]:
    """The rows of the JSON stream; the document comes last."""
    *lines, last = map(json.loads, done.out.splitlines())
    assert (last["command"], done.code) == ("show", 0)
    return [line for line in lines if line["event"] == "row"]


def database(shell: Shell, *statements: str) -> None:
    with contextlib.closing(sqlite3.connect(shell.home / "offline" / "runs" / run_of(shell) / "rows.db")) as db, db:
        for statement in statements:
            db.execute(statement)


def test_a_row(shell: Shell, run: str) -> None:
    done = shell.run("show", run, "short")

    head, message, *rest = done.out.splitlines()
    assert done.code == 0
    assert done.err == ""
    assert head.startswith("short · truncated: MAX_TOKENS · 1 attempt · gemini-3-flash-preview@offline · tokens: ")
    assert head.endswith(" not paid (offline)")
    assert message == "  The answer was cut off at maxOutputTokens (thinking counts towards it)."
    assert rest[:4] == ["prompt", "  user:", "  Hello", "  settings:"]
    assert rest[-3:-1] == ["answer", "  This is an offli"]


def test_all_rows_in_the_order_of_the_input(shell: Shell, run: str) -> None:
    found = rows(shell.run("show", run, "--json"))

    assert [row["key"] for row in found] == ["a", "short", "b"]
    assert [row["verdict"] for row in found] == ["succeeded", "truncated", "succeeded"]
    assert [turn["role"] for turn in found[2]["prompt"]] == ["system", "user"]


def test_a_job_leads_to_its_run(shell: Shell, run: str) -> None:
    (job,) = {row["job"] for row in rows(shell.run("show", run, "--json"))}

    assert shell.run("show", job).out == shell.run("show", run).out


@pytest.mark.parametrize(
    ("words", "keys"),
    [
        (["b", "a"], ["b", "a"]),
        (["--verdict", "truncated"], ["short"]),
        (["--verdict", "truncated,succeeded", "--verdict", "failed"], ["a", "short", "b"]),
        (["--verdict", "missing"], []),
        (["a", "b", "--verdict", "truncated"], []),
        (["--grep", "BE BRIEF"], ["b"]),
        (["--grep", "shor"], ["short"]),
        (["--grep", "offline answer"], ["a", "b"]),
        (["--grep", "nowhere"], []),
        (["--limit", "2"], ["a", "short"]),
        (["--grep", "hello", "--verdict", "succeeded", "--limit", "1"], ["a"]),
    ],
)
def test_rows_are_chosen(shell: Shell, run: str, words: list[str], keys: list[str]) -> None:
    assert [row["key"] for row in rows(shell.run("show", run, "--json", *words))] == keys

    done = shell.run("show", run, *words)

    assert [line.split(" · ")[0] for line in done.out.splitlines() if " · " in line] == keys
    assert done.err == ("" if keys else f"None of the 3 rows of {run} matches.\n")


def test_a_sample_can_be_repeated(shell: Shell, run: str) -> None:
    samples = {shell.run("show", run, "--sample", "1", "--sample-seed", str(seed)).out for seed in range(20)}

    assert shell.run("show", run, "--sample", "1").out == shell.run("show", run, "--sample", "1").out
    assert len(samples) == 3
    assert len(rows(shell.run("show", run, "--json", "--sample", "2"))) == 2


# What costs what ------------------------------------------------------------------------------------------------------


def test_all_attempts_of_a_row_are_counted(shell: Shell, run: str) -> None:
    (before,) = rows(shell.run("show", run, "short", "--json"))
    done = shell.run("retry", run, "--only", "truncated", "--max-output-tokens", "4096", "-o", "out.jsonl", "--offline")
    assert done.code == 0, done.err

    (after,) = rows(shell.run("show", run, "short", "--json"))
    summary = shell.run("results", run, "--json").document["result"]
    every = rows(shell.run("show", run, "--json"))

    assert (before["attempts"], after["attempts"], after["unanswered"]) == (1, 2, 0)
    assert (after["verdict"], after["reason"], after["message"]) == ("succeeded", None, None)
    assert after["usd"]["batch"] > before["usd"]["batch"]
    assert after["tokens"]["input"] == 2 * before["tokens"]["input"]
    assert sum(row["usd"]["batch"] for row in every) == pytest.approx(summary["usd"]["batch"])
    assert sum(row["tokens"]["output"] for row in every) == summary["tokens"]["output"]


def test_a_cost_that_is_not_known_is_not_zero(shell: Shell, run: str) -> None:
    database(shell, "UPDATE answers SET usage_known = 0, input = 0, output = 0, thoughts = 0 WHERE seq = 0")

    (row,) = rows(shell.run("show", run, "a", "--json"))

    assert (row["usd"]["batch"], row["usd"]["interactive"]) == (None, None)
    assert row["usd"]["unknown"] == [{"why": "usage", "model": "gemini-3-flash-preview", "kind": None, "count": 1}]
    assert row["tokens"]["unknown"] == 1
    assert "tokens unknown · nothing was paid (offline)" in shell.run("show", run, "a").out


# Rows without an answer -----------------------------------------------------------------------------------------------


def test_a_job_that_is_alive(shell: Shell) -> None:
    shell.write("in.jsonl", request("a"), request("b"))
    job = shell.run("create", "in.jsonl", "--offline").out.strip()

    done = shell.run("show", job)

    assert done.code == 0
    assert done.out.startswith(f"a · in {job}, which is alive · 1 attempt · gemini-3-flash-preview\nprompt\n  Hello\n")
    assert done.out.count("answer\n  (none)\n") == 2
    assert done.err.startswith(f"No answers of {run_of(shell)} are held here yet. Next: ")
    assert "status" in done.err
    (first, _) = rows(shell.run("show", job, "--json"))
    assert (first["place"], first["job"], first["verdict"], first["answer"]) == ("in_job", job, None, None)
    assert (first["usd"]["batch"], first["usd"]["interactive"], first["usd"]["unknown"]) == (None, None, [])
    assert rows(shell.run("show", job, "--json", "--verdict", "missing")) == []


@pytest.mark.parametrize(
    ("change", "place", "verdict", "words"),
    [
        ("job = NULL, attempts = 0, answer = NULL", "not_sent", None, "a · not sent yet\nprompt\n"),
        ("job = NULL, answer = NULL", "to_be_resent", "missing", "a · missing: TO_BE_RESENT · waits to be sent again"),
        ("answer = NULL", "unanswered", "missing", "a · missing: NO_LINE · 1 attempt · "),
    ],
)
def test_a_row_in_another_place(
    shell: Shell, run: str, change: str, place: str, verdict: str | None, words: str
) -> None:
    database(shell, f"UPDATE requests SET {change} WHERE seq = 0", "DELETE FROM answers WHERE seq = 0")

    (row,) = rows(shell.run("show", run, "a", "--json"))
    done = shell.run("show", run, "a")

    assert (row["place"], row["verdict"], row["answer"]) == (place, verdict, None)
    assert done.out.startswith(words)
    assert bool(row["message"]) == (verdict is not None)


@pytest.mark.parametrize("harm", ["gone", "shorter", "another row's"])
def test_an_answer_file_that_was_changed(shell: Shell, run: str, harm: str) -> None:
    """Its rows say so; nothing is taken for the answer that is not it."""
    (raw,) = (shell.home / "offline" / "runs" / run / "raw").glob("*.jsonl")
    lines = raw.read_bytes().splitlines(keepends=True)
    if harm == "gone":
        raw.unlink()
    elif harm == "shorter":
        raw.write_bytes(b"".join(lines)[:20])
    else:
        raw.write_bytes(b"".join(lines).replace(b'"key":"b"', b'"key":"a"'))

    found = rows(shell.run("show", run, "--json"))

    damaged = [row["key"] for row in found if row["place"] == "damaged"]
    assert damaged == (["b"] if harm == "another row's" else ["a", "short", "b"])
    assert all(row["answer"] is None and "results" in row["message"] for row in found if row["place"] == "damaged")
    assert all(row["prompt"] for row in found)
    assert "its answer file was changed" in shell.run("show", run, "b").out


def test_rows_that_are_not_paid_for_here(shell: Shell) -> None:
    """A second night: one row answered before, one that repeats another, one that is left out."""
    shell.write("first.jsonl", request("a"))
    assert shell.run("run", "first.jsonl", "--offline").code == 0
    (first,) = {path.name for path in (shell.home / "offline" / "runs").glob("run-*")}
    bodies = {key: [{"parts": [{"text": text}]}] for key, text in (("b", "B"), ("c", "B"), ("d", "D"))}
    lines = [request("a"), *(request(key, contents=contents) for key, contents in bodies.items())]
    shell.write("second.jsonl", *lines)
    done = shell.run("run", "second.jsonl", "--offline", "--dedupe", "--limit", "3", "-o", "out.jsonl")
    assert done.code == 0, done.err
    (second,) = {path.name for path in (shell.home / "offline" / "runs").glob("run-*")} - {first}

    found = rows(shell.run("show", second, "--json"))

    assert [row["place"] for row in found] == ["remembered", "answered", "copied", "held_back"]
    assert [row["copied_from"] for row in found] == [None, None, "b", None]
    assert [row["usd"]["batch"] == 0 for row in found] == [True, False, True, False]
    assert [row["verdict"] for row in found] == ["succeeded"] * 3 + [None]
    assert found[2]["answer"] == found[1]["answer"]
    assert "answered before, in another run" in shell.run("show", second, "a").out


# What is wrong --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "code", "reason", "said"),
    [
        (["RUN", "shrt"], 2, "unknown_key", "Did you mean 'short'?"),
        (["RUN", "a", "zebra"], 2, "unknown_key", "--grep"),
        (["RUN", "--verdict", "good"], 2, "bad_argument", "Choose from succeeded, truncated, "),
        (["RUN", "--limit", "0"], 2, "bad_argument", "--limit"),
        (["RUN", "--sample", "-1"], 2, "bad_argument", "--sample"),
        (["batches/elsewhere"], 2, "unknown_job", "adopt batches/elsewhere requests.jsonl"),
        (["run-aaaaaaaa"], 2, "unknown_run", "GEMINI_BATCH_HOME"),
        (["in.jsonl"], 2, "bad_name", "list"),
        ([""], 2, "bad_name", "list"),
    ],
)
def test_a_mistake(shell: Shell, run: str, words: list[str], code: int, reason: str, said: str) -> None:
    done = shell.run("show", *(word.replace("RUN", run) for word in words), "--json")

    assert done.code == code
    assert done.document["error"]["code"] == reason
    assert said in done.document["error"]["next"] + done.document["error"]["message"]


def test_nothing_is_asked(shell: Shell, run: str, trap: Trap, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", trap.url)

    assert shell.run("show", run).code == 0
    assert shell.run("show", "batches/elsewhere").code == 2
    assert trap.callers == 0


def test_a_run_folder_that_is_gone(shell: Shell, run: str) -> None:
    (shell.home / "offline" / "runs" / run).rename(shell.folder / "elsewhere")

    assert shell.run("show", run, "--json").document["error"]["code"] == "results_lost"


# On a terminal --------------------------------------------------------------------------------------------------------

needs_terminal = pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs pseudo-terminals")


def on_terminal(shell: Shell, words: list[str], columns: int, **more: str) -> str:
    """What a terminal of that width receives on stdout."""
    import fcntl
    import termios

    controller, terminal = os.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    kept = {name: value for name, value in os.environ.items() if name not in {"NO_COLOR", "LESS", "PAGER"}}
    environment = {**kept, "TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8", **more}
    started = subprocess.Popen(
        [sys.executable, "-m", "gemini_batch", *words],
        stdin=terminal,
        stdout=terminal,
        stderr=subprocess.PIPE,
        env=environment,
        cwd=shell.folder,
    )
    os.close(terminal)
    received = b""
    with contextlib.suppress(OSError):  # the end of a terminal
        while more_bytes := os.read(controller, 4096):
            received += more_bytes
    os.close(controller)
    _, said = started.communicate()
    assert started.returncode == 0, said
    return received.decode().replace("\r\n", "\n")


def pager(folder: Path) -> str:
    """A pager that marks each line."""
    (folder / "pager.py").write_text("import sys\nfor line in sys.stdin: sys.stdout.write('>' + line)\n")
    return f"{sys.executable} {folder / 'pager.py'}"


@needs_terminal
@pytest.mark.parametrize(("columns", "beside"), [(100, True), (60, False)])
def test_columns_on_a_terminal(shell: Shell, run: str, columns: int, beside: bool) -> None:
    seen = on_terminal(shell, ["show", run, "a", "--no-pager"], columns, NO_COLOR="1")

    assert "\x1b" not in seen
    assert any("prompt" in line and "answer" in line for line in seen.splitlines()) == beside
    assert max(map(len, seen.splitlines())) <= columns


@needs_terminal
def test_colours_on_a_terminal(shell: Shell, run: str) -> None:
    assert "\x1b[1ma" in on_terminal(shell, ["show", run, "a", "--no-pager"], 100)


@needs_terminal
@pytest.mark.parametrize(("words", "paged"), [([], True), (["--no-pager"], False)])
def test_the_users_pager(shell: Shell, run: str, words: list[str], paged: bool) -> None:
    seen = on_terminal(shell, ["show", run, *words], 100, PAGER=pager(shell.folder), NO_COLOR="1")

    assert all(line.startswith(">") == paged for line in seen.splitlines() if line.strip())
    assert "short · truncated: MAX_TOKENS" in seen


@needs_terminal
@pytest.mark.parametrize("name", ["", "cat", " "])
def test_a_pager_that_pages_nothing_is_not_started(shell: Shell, run: str, name: str) -> None:
    assert "\x1b[1ma" in on_terminal(shell, ["show", run, "a"], 100, PAGER=name)


@needs_terminal
def test_who_leaves_the_pager_has_seen_enough(shell: Shell) -> None:
    text = "word " * 2000
    shell.write("in.jsonl", *(request(f"k{number}", contents=[{"parts": [{"text": text}]}]) for number in range(100)))
    assert shell.run("run", "in.jsonl", "--offline").code == 0

    seen = on_terminal(shell, ["show", run_of(shell)], 100, PAGER="head -n 1", NO_COLOR="1")

    assert len(seen.splitlines()) == 1


def test_a_pipe_needs_no_pager(shell: Shell, run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAGER", "false")

    assert shell.run("show", run, "a").out.startswith("a · succeeded")
