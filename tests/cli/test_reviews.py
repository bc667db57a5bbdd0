"""The first job of a table: 600 reviews, a trial, and everything."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from cli.csv_files import read_csv, write_csv
from cli.test_tables import summary
from gemini_batch.emulator.responders.builtin import respond
from gemini_batch.emulator.service.core import Emulator
from gemini_batch.emulator.state.accounting import accounting

if TYPE_CHECKING:
    from cli.conftest import Shell


def reviews(count: int, *, empty: int) -> list[dict[str, Any]]:
    """Two rows have the same id; ``empty`` have no text; texts have several lines and odd characters."""
    rows = [
        {"id": str(at), "review": f'Review {at}:\n"it is, {at % 5} of 5"\u2028; really', "stars": str(at % 5)}
        for at in range(count)
    ]
    rows[7]["id"] = "3"
    for at in range(empty):
        rows[at * 23 + 2]["review"] = "" if at % 2 else "  "
    return rows


REVIEW = {
    "type": "object",
    "properties": {
        "sentiment": {"type": "string", "enum": ["positive", "mixed", "negative"]},
        "topics": {"type": "array", "items": {"type": "string"}},
        "contact": {"type": "boolean"},
    },
    "required": ["sentiment", "topics", "contact"],
}


def paid(shell: Shell) -> dict[str, int]:
    """How often the service was paid for each key, by its own account."""
    with contextlib.closing(Emulator(shell.home / "offline" / "emulator", respond)) as emulator:
        found: dict[str, int] = accounting(emulator.store, keys=True)["keys"]
        return found


def test_600_reviews_are_one_trial_and_one_command(shell: Shell) -> None:
    rows = reviews(600, empty=19)
    write_csv(shell.folder / "reviews.csv", rows)
    (shell.folder / "review.json").write_bytes(msgspec.json.encode(REVIEW))
    prompt = "Classify this review: {{ review }}"
    ask = ("reviews.csv", "--prompt", prompt, "--schema", "review.json", "--details", "--offline", "-q", "--json")

    trial = shell.run("run", *ask, "--limit", "5", "-o", "trial.csv")

    assert trial.code == 0
    tried = read_csv(shell.folder / "trial.csv")
    assert [row["id"] for row in tried] == ["0", "1", "3", "4", "5"]
    assert len(paid(shell)) == 5

    def all_of_them() -> Any:
        done = shell.run("run", *ask, "-o", "enriched.csv")
        assert done.code == 1
        assert set(paid(shell).values()) == {1}
        assert len(paid(shell)) == 581
        return summary(done)

    whole = all_of_them()

    assert (whole["requests"], whole["skipped"]) == (581, {"EMPTY_PROMPT": 19})
    assert whole["verdicts"] == {"succeeded": 581}
    assert whole["run"] == summary(trial)["run"]
    assert whole["usd"]["batch"] > 0
    written = (shell.folder / "enriched.csv").read_bytes()
    assert all_of_them() == whole
    assert (shell.folder / "enriched.csv").read_bytes() == written
    found = read_csv(shell.folder / "enriched.csv")
    assert list(found[0])[:8] == ["id", "review", "stars", "sentiment", "topics", "contact", "verdict", "problem"]
    assert [{name: row[name] for name in rows[0]} for row in found] == rows
    for row in found:
        if row["review"].strip():
            assert (row["verdict"], row["problem"]) == ("succeeded", "")
            assert row["sentiment"] in {"positive", "mixed", "negative"}
            assert all(isinstance(topic, str) for topic in msgspec.json.decode(row["topics"], type=list[str]))
            assert row["contact"] in {"true", "false"}
            assert float(row["usd"]) > 0
        else:
            assert (row["verdict"], row["problem"]) == ("skipped", "`review` is empty.")
            assert row["sentiment"] == row["topics"] == row["contact"] == row["usd"] == ""
    assert sum(float(row["usd"] or 0) for row in found) == pytest.approx(whole["usd"]["batch"])
    jobs = shell.run("list", "--offline", "--json").document["result"]
    assert sorted(job["total"] for job in jobs) == [5, 576]
