"""``clean --local`` and sizes on the screen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from cli.conftest import request
from gemini_batch.cli.clean import command
from gemini_batch.transcript.sizes import size

if TYPE_CHECKING:
    from cli.conftest import Done, Shell, Trap

HOUR = 3600.0


def finished(shell: Shell, name: str = "in.jsonl", *keys: str) -> str:
    """A finished run; its id."""
    shell.write(name, *(request(key) for key in keys or ("a", "b")))
    done = shell.run("run", name, "--offline", "-o", f"{name}.out", "--json", "-q")
    assert done.code == 0
    return str(msgspec.json.decode(done.out.splitlines()[-1])["result"]["run"])


def clean(shell: Shell, *words: str) -> Done:
    return shell.run("clean", "--local", "--offline", "--older-than", "0h", *words)


def test_what_it_says(shell: Shell) -> None:
    run = finished(shell)
    assert shell.run("clean", "--local", "--offline", "--yes").err == "Nothing to delete.\n"

    asked = clean(shell)
    assert (asked.code, asked.out) == (2, "")
    assert "and forget 2 answers, whose rows would be paid for again. There is no terminal" in asked.err
    plan = clean(shell, "--dry-run")
    assert plan.out == f"{run}\n"
    assert plan.err.startswith("Would delete ")
    done = clean(shell, "--yes")
    assert (done.code, done.out) == (0, f"{run}\n")
    assert done.err == plan.err.replace("Would delete", "Deleted").replace("would forget", "forgot")
    assert done.err.endswith(" of 1 run on this machine, and forgot 2 answers, whose rows would be paid for again.\n")

    told = shell.run("results", run)
    assert told.code == 2
    assert f"{run} had 2 succeeded; " in told.err
    assert f"The requests and answers of {run} were deleted on " in told.err
    assert f"run {shell.folder / 'in.jsonl'} --model" in told.err
    shown = shell.run("status", run)
    assert shown.code == 0
    assert "(its answers were deleted; sends the file again)" in shown.err
    assert "deleted here" in shell.run("list", "--offline").out


def test_as_json(shell: Shell) -> None:
    first = finished(shell, "in.jsonl", "a", "b")
    second = finished(shell, "more.jsonl", "a", "b", "c")

    kept = clean(shell, "--keep-results", "--yes", "--json").document["result"]
    assert (kept["freed"], kept["lent"]) == ([], [])
    done = clean(shell, "--yes", "--json").document["result"]

    assert (done["dry_run"], done["freed"], done["forgotten_answers"]) == (False, [second, first], 3)
    assert done["freed_bytes"] > 0
    assert (done["deleted"], done["kept"], done["lent"]) == ([], {}, [])


def test_who_uses_the_answers_is_named(shell: Shell) -> None:
    """The user stays, because it is not finished: a third request waits."""
    first = finished(shell, "in.jsonl", "a", "b")
    shell.write("more.jsonl", request("a"), request("b"), request("c"))
    second = shell.run("create", "more.jsonl", "--offline", "--json").document["result"]["run"]

    done = clean(shell, "--yes")

    assert (done.code, done.out) == (0, "")
    assert done.err == f"kept {first}: {second} uses its answers\nNothing to delete.\n"


def test_it_needs_no_key_and_no_service(shell: Shell, trap: Trap, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", trap.url)
    monkeypatch.delenv("GEMINI_API_KEY", raising=False)
    monkeypatch.delenv("GOOGLE_API_KEY", raising=False)

    assert shell.run("clean", "--local", "--yes").err == "Nothing to delete.\n"
    assert trap.callers == 0


@pytest.mark.parametrize(
    ("text", "seconds"), [("90d", 2160 * HOUR), ("2w", 336 * HOUR), ("12h", 12 * HOUR), (" 1 D ", 24 * HOUR), ("0h", 0)]
)
def test_an_age(text: str, seconds: float) -> None:
    context = command.make_context("clean", ["--local", "--older-than", text])
    assert context.params["older_than"] == seconds


@pytest.mark.parametrize(
    ("words", "said"),
    [
        *((("--local", "--older-than", bad), "is not an age") for bad in ("90", "d", "-1d", "1.5d", "3m", "", "1d 2h")),
        (("--older-than", "90d"), "have no effect without --local"),
        (("--keep-results",), "have no effect without --local"),
        (("--local", "--not-created"), "exclude each other"),
    ],
)
def test_words_that_make_no_sense(shell: Shell, words: tuple[str, ...], said: str) -> None:
    run = finished(shell)

    done = shell.run("clean", "--offline", "--yes", *words)

    assert done.code == 2
    assert said in done.err
    assert shell.run("results", run).code == 0


def test_sizes(shell: Shell) -> None:
    run = finished(shell)
    (one,) = shell.run("list", "--offline", "--json").document["result"]
    assert one["size"] is None
    (one,) = shell.run("list", "--offline", "--long", "--json").document["result"]
    listed = shell.run("list", "--offline", "--long").out
    found = shell.run("doctor", "--offline", "--json").document["result"]

    assert one["size"] > 0
    assert f"  {size(one['size'])}" in listed
    assert [largest["run"] for largest in found["largest"]] == [run]
    assert found["size"] > found["largest"][0]["size"] > 0
    told = shell.run("doctor", "--offline")
    assert told.code == 0
    assert "The state folder takes " in told.err
    assert f"the largest runs: {run} " in told.err
