"""``report`` over real runs: the table, JSON, CSV and the page; what is damaged, alive or at another address."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import shutil
import sqlite3
import time
from typing import TYPE_CHECKING, Any

import pytest

import gemini_batch
from cli.conftest import request
from gemini_batch.settings import load_settings

if TYPE_CHECKING:
    from pathlib import Path

    from cli.conftest import Shell, Trap

SHORT = {"generationConfig": {"maxOutputTokens": 8}}
FLASH = "gemini-3-flash-preview"


@pytest.fixture
def runs(shell: Shell) -> list[str]:
    """Two finished runs, oldest first: one of three requests, of which one was cut off, and one of another model."""
    shell.write("a.jsonl", request("a"), request("short", **SHORT), request("b"))
    shell.write("b.jsonl", request("c", systemInstruction={"parts": [{"text": "Be brief."}]}))
    assert shell.run("run", "a.jsonl", "--offline", "-o", "a.out", "--name", "=first").code == 1
    known = names(shell)
    assert shell.run("run", "b.jsonl", "--offline", "-o", "b.out", "--model", "gemini-3.1-pro-preview").code == 0
    return [*known, *(names(shell) - known)]


def names(shell: Shell) -> set[str]:
    return {path.name for path in (shell.home / "offline" / "runs").glob("run-*")}


def change(path: Path, *statements: str) -> None:
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        for statement in statements:
            db.execute(statement)


def answered(shell: Shell, run: str) -> list[dict[str, Any]]:
    """What ``show`` knows of each row of a run."""
    lines = map(json.loads, shell.run("show", run, "--json").out.splitlines())
    return [line for line in lines if line.get("event") == "row"]


def test_the_sums_are_those_of_the_rows(shell: Shell, runs: list[str]) -> None:
    rows = {run: answered(shell, run) for run in runs}

    found = shell.run("report", "--offline", "--by", "run", "--json").document["result"]

    assert [group["name"] for group in found["groups"]] == runs
    for group in found["groups"]:
        mine = rows[group["name"]]
        assert group["usd"]["batch"] == pytest.approx(sum(row["usd"]["batch"] for row in mine))
        assert group["answers"] == sum(group["verdicts"].values()) == len(mine)
    assert found["groups"][0]["verdicts"] == {"succeeded": 2, "truncated": 1}
    (wasted,) = [row["usd"]["batch"] for row in rows[runs[0]] if row["verdict"] == "truncated"]
    assert found["total"]["usd"]["wasted"] == {"truncated": wasted}
    assert (found["offline"], found["total"]["jobs"], found["total"]["at_least"]) == (True, 2, False)


def test_the_table(shell: Shell, runs: list[str]) -> None:
    done = shell.run("report", "--offline", "--by", "model")

    head, *lines, total = done.out.splitlines()
    assert done.code == 0
    assert " ".join(head.split()) == "model jobs answers succeeded others tokens in tokens out wasted cost"
    assert [line.split()[:5] for line in lines] == [
        ["gemini-3.1-pro-preview", "1", "1", "1", "0"], [FLASH, "1", "3", "2", "1"],
    ]  # fmt: skip
    assert total.split()[:5] == ["total", "2", "4", "3", "1"]
    assert len({len(line) for line in (head, *lines, total)}) == 1, "numbers stand below each other"
    assert "nothing was paid" in done.err
    assert "truncated." in done.err


def test_one_run(shell: Shell, runs: list[str]) -> None:
    """By its id, or by one of its jobs; an offline one is found without saying so."""
    job = answered(shell, runs[0])[0]["job"]
    for name in (runs[0], job):
        done = shell.run("report", name, "--json")
        found = done.document["result"]
        assert (found["run"], found["total"]["jobs"], found["offline"]) == (runs[0], 1, True)
    lines = shell.run("report", runs[0], "--by", "run").out.splitlines()
    assert len(lines) == 2, "one group needs no total"
    assert lines[1].endswith("=first")


@pytest.mark.parametrize(
    ("since", "jobs"), [("1d", 1), ("2d", 1), ("3d", 2), ("1w", 2), ("TODAY", 1), ("2026-01-01", 2)]
)
def test_since(shell: Shell, runs: list[str], since: str, jobs: int) -> None:
    today = dt.datetime.now(dt.UTC).date()
    noon = dt.datetime.combine(today - dt.timedelta(days=2), dt.time(12), dt.UTC).timestamp()
    change(shell.home / "offline" / "ledger.db", f"UPDATE jobs SET created_at = {noon} WHERE run = '{runs[0]}'")

    found = shell.run("report", "--offline", "--since", since.replace("TODAY", str(today)), "--json").document["result"]

    assert found["total"]["jobs"] == jobs
    assert found["until"] == str(today)
    assert len(found["groups"]) == jobs


@pytest.mark.parametrize(
    "words",
    [
        ("--since", "0d"), ("--since", "soon"), ("--since", "2999-01-01"), ("--by", "week"), ("run-unknown1",),
        ("batches/unknown",), ("a b",), ("-o", "r.txt"), ("-o", "no/r.csv"), ("-o", "a.jsonl"), ("-o", "-"),
    ],
)  # fmt: skip
def test_a_mistake(shell: Shell, runs: list[str], words: tuple[str, ...]) -> None:
    before = shell.files()

    done = shell.run("report", *words, "--json")

    assert done.code == 2
    assert done.document["error"]["next"]
    assert shell.files() == before


@pytest.mark.parametrize("words", [(), ("--since", "30d"), ("--offline",), ("--by", "run", "-o", "r.html")])
def test_an_empty_state_folder(shell: Shell, words: tuple[str, ...]) -> None:
    done = shell.run("report", *words)

    assert (done.code, done.out) == (0, "")
    assert "No jobs" in done.err
    assert not shell.home.exists(), "nothing is made of it"
    assert (shell.folder / "r.html").exists() == ("-o" in words)
    assert shell.run("report", *words, "--json").document["result"]["total"]["usd"]["batch"] == 0


def test_no_network_and_no_key(shell: Shell, runs: list[str], trap: Trap, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", trap.url)

    assert shell.run("report").code == 0
    assert shell.run("report", runs[0]).code == 0
    assert trap.callers == 0


@pytest.mark.parametrize("damage", ["garbage", "gone", "folder"])
def test_a_damaged_run_is_named_and_costs_only_its_own_part(shell: Shell, runs: list[str], damage: str) -> None:
    whole = shell.run("report", "--offline", "--by", "run", "--json").document["result"]
    folder = shell.home / "offline" / "runs" / runs[0]
    for path in folder.glob("rows.db*"):
        path.unlink()
    if damage == "garbage":
        (folder / "rows.db").write_bytes(b"no database" * 1000)
    elif damage == "folder":
        shutil.rmtree(folder)

    done = shell.run("report", "--offline", "--by", "run")
    found = shell.run("report", "--offline", "--by", "run", "--json").document["result"]

    assert done.code == 0
    assert f"Warning: {runs[0]}: " in done.err
    assert [one["run"] for one in found["unread"]] == [runs[0]]
    assert found["groups"][1] == whole["groups"][1]
    damaged = found["groups"][0]
    assert (damaged["unread"], damaged["usd"]["batch"], damaged["at_least"]) == (1, None, True)
    assert (found["total"]["at_least"], found["total"]["usd"]["batch"]) == (True, whole["groups"][1]["usd"]["batch"])
    assert done.out.splitlines()[-1].split()[-3:-1] == ["at", "least"]
    assert not list(folder.glob("rows.db*")) or damage == "garbage", "nothing is made again"


def test_a_freed_run_still_counts(shell: Shell, runs: list[str]) -> None:
    whole = shell.run("report", "--offline", "--json").document["result"]
    change(shell.home / "offline" / "ledger.db", "UPDATE jobs SET collected_at = 1")

    done = shell.run("clean", "--local", "--older-than", "90d", "--offline", "--yes")
    assert runs[0] in done.out

    assert shell.run("report", "--offline", "--json").document["result"] == whole


@pytest.mark.parametrize("stage", ["intended", "created", "ended"])
def test_what_is_alive_is_not_known_yet(shell: Shell, runs: list[str], stage: str) -> None:
    change(
        shell.home / "offline" / "ledger.db",
        f"UPDATE jobs SET stage = '{stage}', ended_at = NULL, collected_at = NULL WHERE run = '{runs[1]}'",
    )
    change(
        shell.home / "offline" / "runs" / runs[1] / "rows.db",
        "UPDATE requests SET answer = NULL", "DELETE FROM answers",
    )  # fmt: skip

    done = shell.run("report", "--offline", "--by", "run", "--json")

    alive = done.document["result"]["groups"][1]
    assert (alive["requests_open"], alive["answers"], alive["usd"]["batch"]) == (1, 0, None)
    assert (alive["verdicts"], alive["unanswered"], alive["turnaround"]) == ({}, 0, None)
    assert "Not known yet: 1 request" in shell.run("report", "--offline").err


def test_a_create_in_doubt_counts_on_its_own_day(shell: Shell, runs: list[str]) -> None:
    """Limits count it on that day, too; its run may be older."""
    change(
        shell.home / "offline" / "ledger.db",
        f"UPDATE jobs SET stage = 'intended', intended_at = created_at, created_at = NULL WHERE run = '{runs[1]}'",
        f"UPDATE runs SET created_at = created_at - 40 * 86400 WHERE id = '{runs[1]}'",
    )

    done = shell.run("report", "--offline", "--by", "run", "--since", "2d", "--json")

    assert {group["name"] for group in done.document["result"]["groups"]} == set(runs)


def test_a_request_without_an_answer_is_possibly_paid(shell: Shell, runs: list[str]) -> None:
    change(
        shell.home / "offline" / "runs" / runs[0] / "rows.db",
        "UPDATE requests SET answer = NULL WHERE key = 'a'",
        "DELETE FROM answers WHERE seq = (SELECT seq FROM requests WHERE key = 'a')",
    )

    total = shell.run("report", runs[0], "--json").document["result"]["total"]

    assert (total["verdicts"], total["unanswered"]) == ({"succeeded": 1, "truncated": 1, "missing": 1}, 1)


@pytest.mark.parametrize("emulated", [True, False])
def test_runs_at_another_address(shell: Shell, runs: list[str], emulated: bool) -> None:
    """What an emulator answered was not paid; what anything else asks is not known."""
    shutil.move(shell.home / "offline", shell.home / "moved")
    for path in (shell.home / "moved").iterdir():
        shutil.move(path, shell.home / path.name)
    address = "http://proxy.example:8080"
    change(shell.home / "ledger.db", f"UPDATE runs SET backend = '{address}' WHERE id = '{runs[0]}'")
    change(
        shell.home / "ledger.db",
        f"UPDATE runs SET backend = 'https://generativelanguage.googleapis.com' WHERE id = '{runs[1]}'",
    )
    if not emulated:
        change(shell.home / "runs" / runs[0] / "rows.db", f"UPDATE model_versions SET name = '{FLASH}'")

    found = shell.run("report", "--json").document["result"]

    assert found["emulated"] == ([runs[0]] if emulated else [])
    assert found["elsewhere"] == ({} if emulated else {address: 1})
    assert found["total"]["jobs"] == (1 if emulated else 2)
    assert found["offline"] is False
    asked = shell.run("report", runs[0], "--json").document["result"]
    assert (asked["total"]["jobs"], asked["emulated"], asked["elsewhere"]) == (1, [], {address: 1})


@pytest.mark.parametrize("name", ["r.csv", "r.html"])
def test_a_file(shell: Shell, runs: list[str], name: str) -> None:
    for _ in range(2):  # a report may be made every night
        done = shell.run("report", "--offline", "--by", "run", "-o", name)
        assert done.code == 0
        assert f"Written: {name}" in done.err
        assert "total" in done.out

    text = (shell.folder / name).read_text(encoding="utf-8")
    for run in runs:
        assert run in text
    assert ("'=first" if name.endswith("csv") else "=first") in text


def test_in_python(shell: Shell, runs: list[str]) -> None:
    with gemini_batch.GeminiBatch(load_settings(offline=True)) as batch:
        report = batch.spend_report(since=7, by="model", output=shell.folder / "r.csv")
        assert [group.name for group in report.groups] == ["gemini-3.1-pro-preview", FLASH]
        assert batch.spend_report(runs[0], since=dt.date(2026, 1, 1)).total.jobs == 1
        with pytest.raises(gemini_batch.UsageError):
            batch.spend_report(by="week")  # type: ignore[arg-type]
        with pytest.raises(gemini_batch.UsageError):
            batch.spend_report(since=0)
        assert batch.spend_report(since=10**9).total.jobs == 2
    assert (shell.folder / "r.csv").read_text(encoding="utf-8").startswith("model,")


def test_a_thousand_jobs_in_a_second(shell: Shell, runs: list[str]) -> None:
    """Of one run, by the processor's clock: other processes do not count."""
    home = shell.home / "offline"
    with contextlib.closing(sqlite3.connect(home / "ledger.db")) as db, db:
        db.row_factory = sqlite3.Row
        job = dict(db.execute("SELECT * FROM jobs WHERE run = ?", (runs[0],)).fetchone())
        for ordinal in range(2, 1001):
            more = job | {"id": f"job-{ordinal}", "ordinal": ordinal, "batch": f"batches/{ordinal}"}
            more["created_at"] = job["created_at"] - ordinal * 3600
            marks = ", ".join("?" * len(more))
            db.execute(f"INSERT INTO jobs ({', '.join(more)}) VALUES ({marks})", list(more.values()))
    with contextlib.closing(sqlite3.connect(home / "runs" / runs[0] / "rows.db")) as db, db:
        columns = [row[1] for row in db.execute("PRAGMA table_info(answers)") if row[1] not in {"id", "answer_file"}]
        for ordinal in range(2, 1001):
            db.execute(
                f"INSERT INTO answers ({', '.join(columns)}, answer_file) "
                f"SELECT {', '.join(columns)}, {ordinal} FROM answers WHERE answer_file = 1"
            )

    with gemini_batch.GeminiBatch(load_settings(offline=True)) as batch:
        batch.spend_report(runs[1])  # what is read once
        began = time.process_time()
        report = batch.spend_report(runs[0])
        took = time.process_time() - began

    assert (report.total.jobs, report.total.answers) == (1000, 3000)
    assert len(report.groups) > 40
    assert took < 1
