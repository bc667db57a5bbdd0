"""Results that come in any order, twice, not at all, broken, huge, cut, late or never: each key has its one line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from scenarios.story import FAILED, KEYS, SUCCEEDED, Case, Step, asking, play

if TYPE_CHECKING:
    from scenarios.conftest import Stage

DOWNLOAD = "files.download"
GET = "batches.get"
MISSING_A = {
    "results": Step(code=1, says=("3 succeeded, 1 missing", "1 missing: NO_LINE (keys: a)")),
    "verdicts": {"a": "missing NO_LINE"},
}


PAGE = "<html>\n<title>Sign in</title>\n</html>"


def download(**fields: Any) -> dict[str, Any]:
    return {"operation": DOWNLOAD, **fields}


def with_a_missing(*says: str) -> dict[str, Any]:
    """One answer of four cannot be had."""
    lines = ("3 succeeded, 1 missing", "1 missing: NO_LINE (keys: a)", "possibly have been paid", *says)
    return {"results": Step(code=1, says=lines), "verdicts": {"a": "missing NO_LINE"}}


CUT_OFF: dict[str, Any] = {"results": Step(code=4, says=("same command again",)), "stage": "ended"}

CASES = [
    Case(
        scenario="R0",
        title="a download as it should be",
        results=Step(says=("4 requests: 4 succeeded", "Written: results.jsonl")),
    ),
    Case(scenario="R1", title="another order", faults=("R1",)),
    Case(scenario="R1", title="backwards", faults=({"output": "reverse"},)),
    Case(scenario="R1", title="another order inline", faults=("R1",), options=("--inline",)),
    Case(
        scenario="R2",
        title="answers twice",
        faults=("R2",),
        results=Step(says=("4 succeeded", "the first one that succeeded counts")),
    ),
    Case(
        scenario="R2",
        title="all answers twice inline",
        faults=({"output": "duplicate", "rows": 4},),
        options=("--inline",),
        results=Step(says=("4 extra answers",)),
    ),
    Case(
        scenario="R2",
        title="an error and then an answer",
        faults=({"row": "error", "key": "a"}, {"output": "conflict", "key": "a"}),
        results=Step(code=1),
        verdicts={"a": "failed INTERNAL"},
    ),
    Case(scenario="R3", title="an answer is missing", faults=("R3",), **with_a_missing()),
    Case(
        scenario="R3",
        title="an answer is missing that the service counts",
        faults=({"output": "withhold", "key": "a"},),
        results=Step(code=6, says=("the service counts 4 answers and gives 3. The rest may still come",)),
        stage="ended",
    ),
    Case(scenario="R3", title="an answer is missing inline", faults=("R3",), options=("--inline",), **with_a_missing()),
    Case(
        scenario="R3",
        title="all answers are missing",
        faults=({"output": "drop", "rows": 4},),
        results=Step(code=5, says=("4 missing: NO_LINE", "cost: unknown")),
        verdicts=dict.fromkeys(KEYS, "missing NO_LINE"),
    ),
    Case(
        scenario="R4",
        title="an answer has lost its key",
        faults=("R4",),
        **with_a_missing("1 answer line that belongs to no request (NO_KEY)"),
    ),
    Case(
        scenario="R4",
        title="an answer has lost its metadata",
        faults=("R4",),
        options=("--inline",),
        **with_a_missing("(NO_KEY)"),
    ),
    Case(
        scenario="R4",
        title="all answers have lost their keys",
        faults=({"output": "no_key", "rows": 4},),
        results=Step(code=5, says=("4 answer lines that belong to no request (NO_KEY)",)),
        verdicts=dict.fromkeys(KEYS, "missing NO_LINE"),
    ),
    Case(
        scenario="R5",
        title="a key that nobody sent",
        faults=("R5",),
        results=Step(says=("4 succeeded", "1 answer line that belongs to no request (FOREIGN_KEY)")),
    ),
    Case(scenario="R6", title="half a line", faults=("R6",), **with_a_missing("(NOT_JSON)")),
    Case(scenario="R6", title="a line of a gateway", faults=({"output": "not_json"},), **with_a_missing("(NOT_JSON)")),
    Case(scenario="R7", title="separators in the text", faults=("R7",), own_text=False),
    Case(scenario="R7", title="line ends of Windows", faults=({"output": "crlf"},)),
    Case(scenario="R7", title="no end of the last line", faults=({"output": "no_final_newline"},)),
    Case(scenario="R7", title="blank lines", faults=({"output": "blank"},)),
    Case(scenario="R8", title="lines of 8 MB", faults=("R8",), own_text=False),
    Case(
        scenario="R8", title="a line of 20 MB", faults=({"row": "huge", "megabytes": 20, "key": "b"},), own_text=False
    ),
    Case(
        scenario="R9",
        title="too much inline to be had in a minute",
        idle=1,
        faults=("R9", {"row": "huge", "megabytes": 2, "key": "b"}),
        options=("--inline",),
        own_text=False,
        status=Step(out=f"{SUCCEEDED}\n"),
        results=Step(says=("a longer timeout",)),
    ),
    Case(scenario="R10", title="cut and short and refused", faults=("R10",)),
    Case(scenario="R10", title="cut at every hundred bytes", faults=(download(cut=100, times=0),)),
    Case(scenario="R10", title="silence", faults=(download(silence=9),)),
    Case(scenario="R10", title="a slow drip", faults=(download(drip=20_000.0),)),
    Case(scenario="R10", title="resets", faults=(download(drop="reset", times=4),)),
    Case(scenario="R10", title="429 that says when", faults=(download(error="quota_sync", times=3),)),
    Case(scenario="R10", title="502 in HTML", faults=(download(error="html_502", times=3),)),
    Case(scenario="R10", title="404 once", faults=(download(error="not_found"),)),
    Case(scenario="R10", title="declared longer than it is", faults=(download(length=64, times=3),)),
    Case(scenario="R10", title="declared shorter than it is", faults=(download(length=-64),)),
    Case(scenario="R10", title="refused without end", faults=(download(error="overloaded", times=0),), **CUT_OFF),
    Case(scenario="R10", title="reset without end", faults=(download(drop="reset", times=0),), **CUT_OFF),
    Case(
        scenario="R6",
        title="a page instead of the file",
        faults=(download(status=200, body=PAGE),),
        results=Step(says=("downloading again",)),
    ),
    Case(scenario="R6", title="an empty file at first", faults=(download(status=200, body=""),)),
    Case(
        scenario="R6",
        title="JSON of a gateway instead of the file",
        faults=(download(status=200, body='{"status":"ok"}'),),
    ),
    Case(scenario="R6", title="a page and then a cut", faults=(download(status=200, body=PAGE), download(cut=300))),
    Case(
        scenario="R6",
        title="a page instead of the file without end",
        faults=(download(status=200, body=PAGE, times=0),),
        results=Step(code=4, says=("contains no results", "same command again")),
        stage="ended",
    ),
    Case(
        scenario="R12",
        title="the results are gone",
        faults=("R12",),
        results=Step(code=5, says=("no longer has the results", "may reappear")),
        stage="ended",
    ),
    Case(scenario="R13", title="a file job answers inline", faults=("R13",)),
    Case(
        scenario="R13",
        title="a file job answers inline in another order with one missing",
        faults=("R13", "R1", {"output": "drop", "key": "a"}),
        **with_a_missing(),
    ),
    Case(
        scenario="R1",
        title="everything at once",
        faults=(
            "R1",
            {"output": "duplicate", "key": "b"},
            {"output": "conflict", "key": "c"},
            {"output": "foreign"},
            {"output": "drop", "key": "a"},
            {"output": "not_json", "key": "stranger*"},
            {"output": "crlf"},
            {"output": "no_final_newline"},
        ),
        **with_a_missing("NOT_JSON"),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_fetching(case: Case, stage: Stage) -> None:
    play(case, stage)


def ended(stage: Stage, *options: str) -> str:
    """A job of four requests that has succeeded."""
    stage.shell.write("requests.jsonl", *map(asking, KEYS))
    job = stage.run("create", "requests.jsonl", *options).out.strip()
    assert stage.run("status", job, "--wait").out == f"{SUCCEEDED}\n"
    return job


def test_a_service_without_ranges_that_cuts(stage: Stage) -> None:
    """R10: no progress is possible: 4 and no file; later, the whole of it."""
    stage.service._world.ranges = False
    job = ended(stage)
    stage.arm(**download(cut=100, times=0))

    done = stage.run("results", job, "-o", "results.jsonl")

    assert done.code == 4
    assert not (stage.shell.folder / "results.jsonl").exists()
    assert stage.jobs()[0].stage.value == "ended"
    stage.service.faults.clear()
    assert stage.run("results", job, "-o", "results.jsonl").code == 0
    assert [line["key"] for line in stage.read()] == list(KEYS)


def test_separators_stay_in_the_text(stage: Stage) -> None:
    """R7: raw U+2028, U+2029 and U+0085 split no line and arrive as they are."""
    job = ended(stage)
    del job
    stage.arm("R7", times=0)
    stage.shell.write("other.jsonl", *map(asking, "xyz"))
    job = stage.run("create", "other.jsonl").out.strip()
    stage.run("status", job, "--wait")

    assert stage.run("results", job, "-o", "results.jsonl").code == 0
    texts = [line["response"]["text"] for line in stage.read()]
    assert len(texts) == 3
    assert all("\u2028" in text and "\u2029" in text and "\u0085" in text for text in texts)


def test_output_files_are_only_downloaded(stage: Stage) -> None:
    """R11: they cannot be deleted; nobody tries, neither clean nor doctor."""
    stage.arm(operation="files.get|files.delete", resource="files/batch-*", status=500, times=0)
    job = ended(stage)

    assert stage.run("results", job, "-o", "results.jsonl").code == 0
    assert stage.run("clean", "--yes").code == 0
    assert stage.run("doctor").code == 0
    (armed,) = stage.service.faults.armed()
    assert armed["seen"] == 0


@pytest.mark.parametrize(("scenario", "days"), [("", 50), ("R14", 3)])
def test_after_six_weeks(stage: Stage, scenario: str, days: int) -> None:
    """R12, or R14 after two days: fetched in time they are here for ever; else 5, said, never made again unasked."""
    if scenario:
        stage.arm(scenario)
    fetched = ended(stage)
    assert stage.run("results", fetched, "-o", "results.jsonl").code == 0
    stage.shell.write("other.jsonl", *map(asking, "xyz"))
    other = stage.run("create", "other.jsonl").out.strip()
    stage.run("status", other, "--wait")
    stage.time.jump(days * 86_400)

    assert stage.run("results", fetched, "-o", "again.jsonl").code == 0
    assert stage.read("again.jsonl") == stage.read()
    gone = stage.run("results", other, "-o", "other-results.jsonl")
    assert (gone.code, gone.out) == (5, "")
    assert "no longer has the results" in gone.err
    assert not (stage.shell.folder / "other-results.jsonl").exists()
    assert stage.run("create", "other.jsonl").out.strip() == other
    assert stage.made() == 2


def test_one_look_at_a_job_that_is_too_large_to_be_shown(stage: Stage) -> None:
    """R9: its place in the list says how it stands."""
    stage.arm("R9")
    stage.arm(row="huge", megabytes=2, key="b")
    stage.shell.write("requests.jsonl", *map(asking, KEYS))
    job = stage.run("create", "requests.jsonl", "--inline").out.strip()

    done = stage.run("status", job)

    assert (done.code, done.out) == (0, f"{SUCCEEDED}\n")
    assert f"results {job}" in done.err


def test_an_output_that_never_comes(stage: Stage) -> None:
    """L6: it may still come (6); after a day, going on without it is offered. It is never paid for again unasked."""
    job = ended(stage)
    stage.arm(operation=GET, remove=["metadata.output", "response"], times=0)
    stage.shell.write("other.jsonl", *map(asking, "xyz"))
    other = stage.run("create", "other.jsonl").out.strip()
    stage.run("status", other)

    assert stage.run("results", other, "-o", "results.jsonl").code == 6
    stage.time.jump(30 * 3600)
    late = stage.run("results", other, "-o", "results.jsonl")

    assert (late.code, late.out) == (6, "")
    assert "its results are not available" in late.err
    assert "--accept-incomplete" in late.err
    assert "--new" not in late.err
    assert not (stage.shell.folder / "results.jsonl").exists()
    assert stage.run("create", "other.jsonl").out.strip() == other
    stage.service.faults.clear()
    assert stage.run("results", other, "-o", "results.jsonl").code == 0
    assert stage.run("results", job).code == 0
    assert stage.made() == 2


def test_results_as_json_and_on_stdout(stage: Stage) -> None:
    """R3, R5: the same facts for programs."""
    stage.arm("R3")
    stage.arm("R5")
    job = ended(stage)

    done = stage.run("results", job, "--json")

    assert done.code == 1
    result = done.document["result"]
    assert result["verdicts"] == {"succeeded": 3, "missing": 1}
    assert result["quarantined"] == {"FOREIGN_KEY": 1}
    assert [line["key"] for line in done.document["preview"]] == list(KEYS)
    lines = [json.loads(line) for line in stage.run("results", job, "-o", "-").out.splitlines()]
    assert [line["key"] for line in lines] == list(KEYS)


@pytest.mark.parametrize("state", [FAILED, "JOB_STATE_EXPIRED", "JOB_STATE_CANCELLED"])
@pytest.mark.parametrize("inline", [False, True])
def test_partial_outputs_are_kept(stage: Stage, state: str, inline: bool) -> None:
    """L4, L7, X3: what an unfinished job has answered is there, in a file or inline, also for another home."""
    word = state.removeprefix("JOB_STATE_")
    stage.arm(job=word, rows=2, keep=True, code=13, message="Oh.")
    stage.shell.write("requests.jsonl", *map(asking, KEYS))
    job = stage.run("create", "requests.jsonl", *(["--inline"] if inline else [])).out.strip()

    done = stage.run("results", job, "-o", "results.jsonl")

    assert done.code == 1
    lines = stage.read()
    assert [line["verdict"] for line in lines] == ["succeeded", "succeeded", "missing", "missing"]
    assert {line["error"]["reason"] for line in lines[2:]} == {f"JOB_{word}"}
