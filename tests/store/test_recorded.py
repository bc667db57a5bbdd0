"""A state folder that 1.0.0 has made, with a job at each stage, goes on; nothing is paid again."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from gemini_batch.store.ledger.migrations import LEDGER
from gemini_batch.store.rows.migrations import ROWS
from store.record import LONGER, MADE, RUNS

if TYPE_CHECKING:
    from store.conftest import Old

#: What goes on with a run: the command that was interrupted, or what its user types next.
CREATED = (("create", "FILE"), ("status", "JOB", "--wait", "--poll", "0.05"), ("results", "JOB", "-o", "out.jsonl"))
BY_FILE = (("run", "FILE", "-o", "out.jsonl"),)
BY_NAME = (("run", "RUN", "-o", "out.jsonl"),)
FETCHED = (("results", "JOB", "-o", "out.jsonl"),)
GOES_ON = {
    **dict.fromkeys(RUNS, CREATED),
    "adopted": FETCHED,
    "adopted-ended": FETCHED,
    "ended": FETCHED,
    "run-of-three": BY_NAME,
    "run-finished": BY_FILE,
    "retry-chosen": ((*LONGER, "-o", "out.jsonl"),),  # killed before it had chosen rows, so it is typed again
    "retry-waiting": BY_NAME,
    "retry-uploaded": BY_NAME,
    "retry-made": BY_NAME,
    "retry-finished": BY_FILE,
}


def go_on(old: Old, name: str) -> None:
    """Type the commands of a run; every one of them ends with 0."""
    words = {"FILE": f"{name}.jsonl", "JOB": old.job(name), "RUN": old.run_id(name)}
    for command in GOES_ON[name]:
        done = old.type(*(words.get(word, word) for word in command))
        assert done.code == 0, (command, done)
        if command[0] == "create":
            assert words["JOB"] in {"", done.out.strip()}
            words["JOB"] = done.out.strip()


def check(old: Old, name: str) -> None:
    """Each key has one right answer."""
    rows = old.lines("out.jsonl")
    assert [row["key"] for row in rows] == RUNS[name].keys(name)
    assert {row["verdict"] for row in rows} == {"succeeded"}
    assert all(f"Say {row['key']}" in row["response"]["text"] for row in rows), rows


def paid_in_the_end() -> Counter[str]:
    """What all of the recording costs: each key once, and once more where the user resent it, with more room."""
    return Counter({key: 1 + run.cut for name, run in RUNS.items() for key in run.keys(name)})


def test_what_the_recording_holds(old: Old) -> None:
    """It is what the test says it is: each stage, the schema of 1.0.0, and rows that were paid for before."""
    stages = {name: tuple(row[0] for row in old.ask("SELECT life FROM jobs WHERE run = ? ORDER BY ordinal", run))
              for name, run in ((name, old.run_id(name)) for name in RUNS)}  # fmt: skip
    options = [json.loads(row[0]) for row in old.ask("SELECT options FROM runs WHERE options IS NOT NULL")]

    assert old.ask("PRAGMA user_version") == [(1,)]
    assert stages == {name: run.stages for name, run in RUNS.items()}
    assert set().union(*stages.values()) == {"planned", "uploaded", "intended", "created", "ended", "collected"}
    assert sum(one["change"] is not None for one in options) == 4
    assert {one["max_requests_per_job"] for one in options} == {1, None}
    assert old.ask("SELECT refused, accepted FROM ceilings") == [(3_000_000, 1_000_000)]
    assert old.ask("SELECT count(*) FROM runs WHERE origin = 'adopted'") == [(2,)]
    before = old.paid()
    assert len(before) > 20
    assert not before - paid_in_the_end()


@pytest.mark.parametrize("name", RUNS)
def test_a_run_goes_on(old: Old, name: str) -> None:
    """Whatever stage it was left at: one right answer for each key, and each is paid for once."""
    databases = [old.offline.ledger_path, old.offline.run(old.run_id(name)).row_database]
    existed = [path for path in databases if path.exists()]

    go_on(old, name)

    check(old, name)
    keys = RUNS[name].keys(name)
    paid = old.paid()
    assert {key: paid[key] for key in keys} == {key: paid_in_the_end()[key] for key in keys}
    assert existed == databases or name == "adopted-ended"  # what is not downloaded has no rows yet
    for path in existed:
        copy = path.with_suffix(".v1.db")
        steps = LEDGER if path == old.offline.ledger_path else ROWS
        assert old.ask("PRAGMA user_version", database=path) == [(len(steps),)]
        assert old.ask("PRAGMA user_version", database=copy) == [(1,)]
        assert old.ask("PRAGMA integrity_check", database=copy) == [("ok",)]


def test_all_runs_go_on_in_one_folder(old: Old) -> None:
    """One after the other, then every command once more: what is paid for stays as it is."""
    for name in RUNS:
        go_on(old, name)
        check(old, name)
    assert old.paid() == paid_in_the_end()

    for name in ("created", "run-of-three", "retry-uploaded", "adopted"):
        go_on(old, name)
        check(old, name)
    assert old.paid() == paid_in_the_end()
    stages = old.ask("SELECT DISTINCT stage FROM jobs WHERE dropped_at IS NULL")
    assert stages == [("collected",)]


def test_what_only_reads(old: Old) -> None:
    """``list`` and ``status`` are the first to open the folder: they migrate it, and say of each run how it is."""
    found = old.type("list", "--json")
    shown = {name: old.type("status", old.run_id(name), "--json") for name in RUNS}

    assert found.code == 0, found.err
    assert all(row[0] in found.out for row in old.ask("SELECT batch FROM jobs WHERE batch IS NOT NULL"))
    assert {name: done.code for name, done in shown.items()} == dict.fromkeys(RUNS, 0)
    assert old.ask("PRAGMA user_version") == [(len(LEDGER),)]
    assert old.paid().total() >= 27
    assert not old.paid() - paid_in_the_end()


def test_kept_options_go_on(old: Old) -> None:
    """A run's bounds and a retry's overrides are those that were given to 1.0.0."""
    with old.offline.ledger() as ledger:
        one_by_one = ledger.run(old.run_id("run-of-three"))
        longer = ledger.run(old.run_id("retry-chosen"))
    assert one_by_one is not None
    assert longer is not None

    from gemini_batch.store.ledger.run_options import RequestOverrides, RunOptions, kept_options

    assert kept_options(one_by_one) == RunOptions(max_requests_per_job=1, attempts=2, name="one by one")
    assert kept_options(longer) == RunOptions(overrides=RequestOverrides(max_output_tokens=100))


def test_learned_bounds_go_on(old: Old) -> None:
    (found,) = old.ask("SELECT key_print, model, learned_at FROM ceilings")
    with old.offline.ledger() as ledger:
        bounds = ledger.quota_bounds(found[0], found[1], at=found[2] + 60)

    assert (bounds.refused, bounds.accepted) == (3_000_000, 1_000_000)


def test_the_earlier_version_refuses_what_was_migrated(old: Old) -> None:
    """1.0.0 compares the version with its own, which is 1, and ends with exit code 3."""
    with old.offline.ledger():
        pass

    assert old.ask("PRAGMA user_version") > [(1,)]
    with contextlib.closing(sqlite3.connect(old.offline.ledger_path)) as db, pytest.raises(sqlite3.OperationalError):
        db.execute("SELECT life FROM jobs")


def test_every_made_run_has_its_request_file(old: Old) -> None:
    """The script that recorded and the recording belong together."""
    assert {name: (old.folder / f"{name}.jsonl").read_bytes() for name in MADE} == {
        name: run.lines(name) for name, run in MADE.items()
    }


def test_rows_that_the_earlier_version_answered_are_not_sent_again(old: Old) -> None:
    """A file that it has finished sends nothing; with one line more, it sends one."""
    before = old.paid()
    source = old.folder / "run-finished.jsonl"
    again = old.type("run", source.name, "-o", "again.jsonl")
    assert again.code in {0, 1}, again.err
    assert old.paid() == before

    more = json.dumps({"key": "one-more", "request": {"contents": [{"parts": [{"text": "One more"}]}]}})
    (old.folder / "more.jsonl").write_bytes(source.read_bytes() + more.encode() + b"\n")
    succeeded = [line["key"] for line in old.lines("again.jsonl") if line["verdict"] == "succeeded"]
    done = old.type("run", "more.jsonl", "-o", "more.out")

    assert f"{len(succeeded)} of {len(old.lines('again.jsonl')) + 1} requests were answered before" in done.err
    sent = old.paid() - before
    assert sent["one-more"] == 1
    assert not set(sent) & set(succeeded)
