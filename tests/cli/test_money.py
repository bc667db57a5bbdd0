"""Money on the command line: grounded rows, the user's own prices, and what each job cost."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from cli.conftest import Shell


def request(key: str, **fields: Any) -> dict[str, Any]:
    return {"key": key, "request": {"contents": [{"parts": [{"text": f"Say {key}"}]}], **fields}}


def own(shell: Shell, text: str) -> None:
    shell.home.mkdir(parents=True, exist_ok=True)
    (shell.home / "prices.toml").write_text(text, encoding="utf-8")


MINE = '[[prices]]\nmodel = "gemini-3-flash-preview"\nbatch = { input = 100, output = 200 }\n'


def test_a_hundred_grounded_rows_cost_what_their_searches_cost(shell: Shell) -> None:
    shell.write("in.jsonl", *(request(f"k{n}", tools=[{"googleSearch": {}}]) for n in range(100)))

    done = shell.run("run", "in.jsonl", "--offline", "-o", "out.jsonl", "--json")

    usd = json.loads(done.out.splitlines()[-1])["result"]["usd"]
    assert usd["by_kind"]["search"] == 1.4, "100 queries of 14 USD for 1,000"
    tokens = sum(part for kind, part in usd["by_kind"].items() if kind != "search")
    assert usd["batch"] == pytest.approx(1.4 + tokens)
    assert usd["interactive"] == pytest.approx(1.4 + 2 * tokens), "searches have no discount"
    (run,) = {line.split()[0] for line in shell.run("list", "--offline", "--long").out.splitlines()}
    said = shell.run("results", run, "-o", "again.jsonl").err
    assert "including $1.40 for Google Search, at list price; free allowances are not deducted" in said
    assert "% less than" in said
    assert "50% less than" not in said


def test_own_prices_count_and_are_marked(shell: Shell) -> None:
    own(shell, MINE)
    shell.write("in.jsonl", request("a"))

    done = shell.run("run", "in.jsonl", "--offline", "-o", "out.jsonl", "--json")

    summary = json.loads(done.out.splitlines()[-1])["result"]
    usd, tokens = summary["usd"], summary["tokens"]
    assert usd["by_kind"]["input"] == pytest.approx(tokens["input"] * 100 / 1e6)
    assert usd["by_kind"]["thoughts"] == pytest.approx(tokens["thoughts"] * 200 / 1e6)
    assert usd["interactive"] == pytest.approx(
        (tokens["input"] * 0.5 + (tokens["output"] + tokens["thoughts"]) * 3) / 1e6
    )
    assert [(one["model"], one["own"]) for one in usd["prices"]] == [("gemini-3-flash-preview", True)]
    assert "your own prices" in shell.run("results", "--offline", run_of(shell), "-o", "again.jsonl").err
    table = shell.run("models")
    (line,) = [line for line in table.out.splitlines() if line.startswith("gemini-3-flash-preview ")]
    assert line.split()[2:] == ["in", "$100", "out", "$200", "your", "own", "price"]
    assert str(shell.home / "prices.toml") in table.err
    (facts,) = json.loads(shell.run("models", "gemini-3-flash-preview", "--json").out)["result"]
    assert (facts["batch_input"], facts["prices"][0]["own"]) == (100, True)
    assert facts["prices"][0]["batch"]["cached"] == 0.05, "the rest is the catalog's"


def run_of(shell: Shell) -> str:
    (one,) = json.loads(shell.run("list", "--offline", "--json").out)["result"]
    run: str = one["run"]
    return run


def test_a_model_that_only_the_file_prices_is_listed(shell: Shell) -> None:
    own(shell, '[[prices]]\nmodel = "gemini-next"\nbatch = { input = 1 }\n')
    assert [line for line in shell.run("models").out.splitlines() if line.startswith("gemini-next")]
    assert "Not in the catalog" in shell.run("models", "gemini-next").out
    assert shell.run("models", "gemini-nxt").code == 2


def test_a_model_alone_shows_each_price_with_its_days_and_its_source(shell: Shell) -> None:
    text = shell.run("models", "gemini-3.1-pro-preview").out
    assert "Price from 2026-10-01, in a batch (interactively):" in text
    assert "  input: $1 ($2)" in text
    assert "  input, prompts over 200,000 tokens: $2 ($4)" in text
    assert "  Google Search: $14 for 1,000 queries" in text
    assert "  ai.google.dev/gemini-api/docs/pricing, 2026-11-22" in text
    assert "thoughts" not in text, "they cost what other output costs"
    both = shell.run("models", "gemini-3.8-flash", "--json").document["result"][0]["prices"]
    assert [(one["since"], one["until"]) for one in both][-1] == ("2027-01-01", None)


BROKEN = '[[prices]]\nmodel = "gemini-3-flash-preview"\nbatch = { inptu = 1 }\n'


@pytest.mark.parametrize(
    "command",
    [
        ("create", "in.jsonl", "--offline"),
        ("run", "in.jsonl", "--offline", "-o", "new.jsonl"),
        ("results", "RUN", "-o", "new.jsonl"),
        ("retry", "RUN", "--only", "truncated", "-o", "new.jsonl"),
        ("show", "RUN"),
        ("list", "--offline", "--long"),
        ("models",),
    ],
    ids=lambda command: command[0],
)
def test_a_mistake_in_own_prices_is_refused_with_its_place(shell: Shell, command: tuple[str, ...]) -> None:
    shell.write("first.jsonl", request("a"), request("b", generationConfig={"maxOutputTokens": 2}))
    assert shell.run("run", "first.jsonl", "--offline", "-o", "out.jsonl").code == 1
    run = run_of(shell)
    shell.write("in.jsonl", request("c"))
    own(shell, BROKEN)

    done = shell.run(*(run if word == "RUN" else word for word in command))

    assert done.code == 2
    assert f"{shell.home / 'prices.toml'}:prices[0].batch" in done.err
    assert "inptu" in done.err
    (shell.home / "prices.toml").unlink()
    jobs = json.loads(shell.run("list", "--offline", "--json").out)["result"]
    assert [one["state"] for one in jobs if one["job"]] == ["JOB_STATE_SUCCEEDED"], "nothing was sent"


@pytest.mark.parametrize(
    "command", [("status", "RUN"), ("list", "--offline"), ("cancel", "RUN"), ("doctor", "--offline")]
)
def test_what_shows_no_money_does_not_need_the_file(shell: Shell, command: tuple[str, ...]) -> None:
    shell.write("first.jsonl", request("a"))
    shell.run("run", "first.jsonl", "--offline", "-o", "out.jsonl")
    run = run_of(shell)
    before = shell.run(*(run if word == "RUN" else word for word in command)).code
    own(shell, BROKEN)
    assert shell.run(*(run if word == "RUN" else word for word in command)).code == before


def test_the_cost_of_each_job_is_in_the_long_list(shell: Shell) -> None:
    shell.write("in.jsonl", request("a"), request("b", generationConfig={"maxOutputTokens": 2}))
    shell.run("run", "in.jsonl", "--offline", "-o", "out.jsonl")
    run = run_of(shell)
    shell.run("retry", run, "--only", "truncated", "--max-output-tokens", "800", "-o", "out.jsonl")

    jobs = shell.run("list", "--offline", "--long", "--json").document["result"]

    whole = shell.run("results", run, "--json").document["result"]["usd"]
    assert len(jobs) == 2
    assert sum(Decimal(str(one["usd"]["batch"])) for one in jobs) == Decimal(str(whole["batch"]))
    assert whole["wasted"].keys() == {"retried"}
    assert all(
        "$" in line and "not paid (offline)" in line
        for line in shell.run("list", "--offline", "--long").out.splitlines()
    )
    assert all(one["usd"] is None for one in shell.run("list", "--offline", "--json").document["result"])
