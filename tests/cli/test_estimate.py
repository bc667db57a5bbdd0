"""``estimate`` over real runs, offline: what it foresees, what it leaves alone, and what a run says before it sends."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any

import pytest

from cli.conftest import request

if TYPE_CHECKING:
    from cli.conftest import Done, Shell

PNG = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sIIBBBBB4x", 13, b"IHDR", 1, 1, 8, 2, 0, 0, 0)
BRIEF = {"generationConfig": {"maxOutputTokens": 1000}}


def says(text: str) -> dict[str, Any]:
    return {"contents": [{"parts": [{"text": text}]}]}


@pytest.fixture
def file(shell: Shell) -> str:
    """Forty requests that ask for the same."""
    shell.write("in.jsonl", *(request(str(number), **BRIEF) for number in range(40)))
    return "in.jsonl"


def estimated(shell: Shell, *words: str) -> dict[str, Any]:
    done = shell.run("estimate", *words, "--offline", "--json")
    assert done.code == 0, done.err
    found: dict[str, Any] = json.loads(done.out)["result"]
    return found


def said(done: Done) -> list[str]:
    """The two lines of a run before it sends."""
    return [line for line in done.err.splitlines() if line.startswith(("Tokens: ", "Cost: "))]


def test_without_anything_to_go_by_there_is_an_upper_bound(shell: Shell, file: str) -> None:
    found = estimated(shell, file)

    assert (found["requests"], found["jobs"], found["answer_basis"]) == (40, 1, "bound")
    assert found["answer_tokens"] == {"low": 0, "expected": None, "high": 40_000}
    assert found["usd"]["expected"] is None
    assert found["worst_usd"] > 40 * 1000 * 1.5e-6
    assert found["price"]["date"] == "2026-11-22"


def test_nothing_is_stored_and_no_key_is_needed(shell: Shell, file: str) -> None:
    done = shell.run("estimate", file)

    assert done.code == 0, done.err
    assert done.out.startswith("40 requests for gemini-3-flash-preview.\nTokens: ")
    assert shell.run("list", "--offline").out == ""
    assert not list(shell.home.rglob("requests.jsonl"))


def test_what_was_sent_is_not_counted_again_whatever_came_of_it(shell: Shell) -> None:
    """The same command goes on with the run, and sends only the rest."""
    shell.write("in.jsonl", *(request(str(number), generationConfig={"maxOutputTokens": 8}) for number in range(10)))
    trial = shell.run("run", "in.jsonl", "--offline", "--limit", "4", "-o", "trial.jsonl")
    assert "4 truncated" in trial.err

    found, anew = estimated(shell, "in.jsonl"), estimated(shell, "in.jsonl", "--new")
    whole = shell.run("run", "in.jsonl", "--offline", "-o", "out.jsonl")

    assert (found["requests"], found["remembered"]) == (6, 4)
    assert anew["requests"] == 10
    assert "10 requests: 10 truncated" in whole.err


def test_a_trial_tells_how_long_answers_are(shell: Shell, file: str) -> None:
    shell.run("run", file, "--offline", "--limit", "10", "-o", "trial.jsonl")

    trial_usd = json.loads(shell.run("results", file_run(shell), "--json").out)["result"]["usd"]["batch"]
    found = estimated(shell, file)
    whole = shell.run("run", file, "--offline", "-o", "out.jsonl")
    actual = json.loads(shell.run("results", file_run(shell), "--offline", "--json").out)["result"]

    assert (found["requests"], found["remembered"]) == (30, 10)
    assert (found["answer_basis"], found["answers_known"]) == ("history", 10)
    assert "estimated, corrected by 10 counts from here" in said(whole)[0]
    assert "from 10 answers of this run" in said(whole)[0]
    assert (found["prompt_basis"], found["prompts_known"], found["unmeasured"]) == ("learned", 10, [])
    prompts = actual["tokens"]["input"] * 30 / 40
    assert found["prompt_tokens"]["low"] <= prompts <= found["prompt_tokens"]["high"]
    tokens = actual["tokens"]["output"] + actual["tokens"]["thoughts"]
    trial = found["answer_tokens"]
    assert trial["low"] <= tokens * 30 / 40 <= trial["high"]
    assert found["usd"]["low"] <= found["usd"]["expected"]
    compared = actual["estimated"]
    assert {name: compared[name] for name in ("low", "expected", "high")} == pytest.approx(found["usd"], rel=0.01)
    assert compared["actual"] == pytest.approx(actual["usd"]["batch"] - trial_usd), "the trial itself has no estimate"
    report = shell.run("report", file_run(shell), "--offline")
    for words in (whole.err, report.err):
        assert "stimated for 1 of 2 jobs: $" in words


def file_run(shell: Shell) -> str:
    (found,) = (shell.home / "offline" / "runs").glob("run-*")
    return found.name


def test_another_file_of_the_same_kind_is_history(shell: Shell, file: str) -> None:
    shell.run("run", file, "--offline", "-o", "out.jsonl")
    shell.write("more.jsonl", *(request(f"m{number}", **says(f"Another {number}."), **BRIEF) for number in range(8)))
    shell.write("other.jsonl", *(request(f"o{number}", generationConfig={"temperature": 0}) for number in range(8)))

    assert estimated(shell, "more.jsonl")["answer_basis"] == "history"
    assert estimated(shell, "other.jsonl")["answer_basis"] == "bound"


def test_what_is_remembered_held_back_or_identical_is_not_counted(shell: Shell, file: str) -> None:
    shell.run("run", file, "--offline", "-o", "out.jsonl")
    same = [request(f"s{number}", **says("The same."), **BRIEF) for number in range(5)]
    shell.write("next.jsonl", *(request(str(number), **BRIEF) for number in range(38)), *same)

    found = estimated(shell, "next.jsonl", "--dedupe")
    assert (found["requests"], found["remembered"], found["copies"]) == (1, 38, 4)
    assert estimated(shell, "next.jsonl", "--new")["requests"] == 43
    limited = estimated(shell, "next.jsonl", "--new", "--limit", "3")
    assert (limited["requests"], limited["held_back"]) == (3, 40)


def test_jobs_and_the_tier(shell: Shell, file: str) -> None:
    found = estimated(shell, file, "--max-requests-per-job", "15", "--tier", "2")
    assert (found["jobs"], found["tier_tokens"]) == (3, 400_000_000)


def test_a_table(shell: Shell) -> None:
    (shell.folder / "t.csv").write_text("id,body\n1,one\n2,\n3,three\n")

    found = estimated(shell, "t.csv", "--prompt", "Say {{ body }}")

    assert (found["requests"], found["skipped"], found["source"]) == (2, {"EMPTY_PROMPT": 1}, "t.csv")


@pytest.mark.parametrize("words", [["no.jsonl"], ["run-nothere1"], []])
def test_a_wrong_input(shell: Shell, words: list[str]) -> None:
    assert shell.run("estimate", *words, "--offline").code == 2


def test_a_model_without_a_price(shell: Shell, file: str) -> None:
    done = shell.run("estimate", file, "--offline", "-m", "gemini-flash-latest")
    assert "Cost: unknown; there is no price for gemini-flash-latest." in done.out


def test_what_is_left_of_a_run(shell: Shell, file: str) -> None:
    shell.run("run", file, "--offline", "--limit", "10", "-o", "trial.jsonl")
    assert estimated(shell, file_run(shell))["requests"] == 0
    assert estimated(shell, file_run(shell))["held_back"] == 30


def test_the_service_counts(shell: Shell, file: str) -> None:
    """The emulator counts a token for every four characters."""
    shell.write("in.jsonl", *(request(str(number), **says("word " * 4 * (1 + number % 3))) for number in range(60)))
    exact = sum(5 * (1 + number % 3) for number in range(60))

    whole, some = (estimated(shell, "in.jsonl", "--count", count) for count in ("60", "20"))

    assert whole["prompt_basis"] == some["prompt_basis"] == "counted"
    assert whole["prompt_tokens"] == {"low": exact, "expected": exact, "high": exact}
    assert some["prompt_tokens"]["low"] <= exact <= some["prompt_tokens"]["high"]
    assert some["prompt_tokens"]["high"] < 2 * exact


@pytest.mark.parametrize(("size", "code"), [(1000, 0), (300_000, 2)])
def test_prompts_with_large_attachments_cannot_be_counted(shell: Shell, size: int, code: int) -> None:
    (shell.folder / "a.png").write_bytes(PNG + b"x" * size)
    (shell.folder / "t.csv").write_text("file\na.png\n")
    done = shell.run("estimate", "t.csv", "--prompt", "What is it?", "--attach", "file", "--count", "1", "--offline")
    assert done.code == code
    assert ("--count: 1 of 1 prompt has attachments that are uploaded only when" in done.err) is (code == 2)


def test_too_few_prompts_of_one_run_teach_nothing(shell: Shell) -> None:
    """Three counts are three, although the run that has them is found twice: by its kind and by its model."""
    shell.write("few.jsonl", *(request(f"f{number}", **BRIEF) for number in range(3)))
    shell.run("run", "few.jsonl", "--offline", "-o", "out.jsonl")
    shell.write("more.jsonl", *(request(f"m{number}", **says(f"Another {number}."), **BRIEF) for number in range(8)))

    found = estimated(shell, "more.jsonl")

    assert (found["prompt_basis"], found["prompts_known"], found["answers_known"]) == ("estimate", 0, 0)


def test_earlier_runs_tell_what_too_few_answers_of_the_run_do_not(shell: Shell, file: str) -> None:
    shell.run("run", file, "--offline", "-o", "out.jsonl")
    shell.write("more.jsonl", *(request(f"m{number}", **says(f"Another {number}."), **BRIEF) for number in range(8)))
    shell.run("run", "more.jsonl", "--offline", "--limit", "2", "-o", "more.out.jsonl")
    whole = shell.run("run", "more.jsonl", "--offline", "-o", "more.out.jsonl")

    assert "from 40 answers to requests of this kind" in said(whole)[0]


def test_embeddings_are_counted_too(shell: Shell) -> None:
    line = {"key": "a", "request": {"content": {"parts": [{"text": "x" * 40}]}}}
    shell.write("in.jsonl", line)
    found = estimated(shell, "in.jsonl", "--count", "1")
    assert (found["method"], found["prompt_tokens"]["expected"], found["answer_tokens"]["expected"]) == ("embed", 10, 0)
    assert found["usd"]["expected"] == pytest.approx(10 * 0.1e-6)


def test_counting_needs_a_key(shell: Shell, file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GEMINI_API_KEY", "GOOGLE_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    assert shell.run("estimate", file).code == 0
    assert shell.run("estimate", file, "--count", "1").code == 2


@pytest.mark.parametrize("name", ["batches/nothere", "run-nothere1"])
def test_a_job_or_run_that_is_not_known_here(shell: Shell, name: str) -> None:
    done = shell.run("estimate", name, "--offline")
    assert done.code == 2
    assert "unexpected" not in done.err


@pytest.mark.parametrize(
    ("limit", "words"),
    [
        # Forty requests of at most $0.001528 each.
        ("0.04", "The limit lets about 26 of 40 requests be sent at a time, because each may cost up to $0.0015"),
        ("1", ""),
    ],
)
def test_a_limit_that_takes_many_rounds_says_so(shell: Shell, file: str, limit: str, words: str) -> None:
    done = shell.run("run", file, "--offline", "--max-usd", limit, "-o", "out.jsonl")

    assert done.code == 0, done.err
    assert ("rounds of jobs" in done.err) is bool(words)
    assert words in done.err
    assert ": at least 2 rounds of jobs. A lower maxOutputTokens lets more" in done.err or not words
