"""Whatever comes as a result file: every key has one line, none has another's answer, and the exit code is true."""

from __future__ import annotations

import hashlib
import itertools
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from engine.fake import answer_line, write_requests
from gemini_batch.catalog import Method
from gemini_batch.engine.judging import judge_file
from gemini_batch.events import ignore_events
from gemini_batch.intake.staging import stage
from gemini_batch.money.book import default_book
from gemini_batch.report.job_view import facts_of
from gemini_batch.report.result_set import Results
from gemini_batch.report.summary import summarize
from gemini_batch.store.ledger.records import Job, JobStage, Run
from gemini_batch.store.state_folder import RunFolder, StateFolder

if TYPE_CHECKING:
    from collections.abc import Iterator

# Far apart from each other, so that no small damage turns one into another.
KEYS = [hashlib.sha256(bytes([n])).hexdigest()[:16] for n in range(6)]
FOREIGN = "f" * 16


def template(jobs: int) -> Path:
    """A run folder with staged requests, equally many in each job."""
    folder = _FOLDER / f"template{jobs}"
    folder.mkdir()
    run = RunFolder(folder / "run-a")
    run.path.mkdir()
    stage(write_requests(folder / "in.jsonl", KEYS), run, max_bytes=10**9)
    with run.rows() as rows:
        for ordinal in range(1, jobs + 1):
            rows.take(ordinal, requests=len(KEYS) // jobs, bytes=10**9, tokens=None)
    return run.path


_FOLDER = Path(tempfile.mkdtemp(prefix="gemini-batch-property-"))
_TEMPLATES = {jobs: template(jobs) for jobs in (1, 2)}
_NUMBERS = itertools.count()

index = st.integers(0, len(KEYS) + 3)
damage = st.one_of(
    st.tuples(st.just("swap"), index, index),
    st.tuples(st.just("drop"), index, index),
    st.tuples(st.just("twice"), index, index),
    st.tuples(st.just("foreign"), index, index),
    st.tuples(st.just("error"), index, st.sampled_from([1, 3, 8, 13, 99])),
    st.tuples(st.just("no key"), index, index),
    st.tuples(st.just("cut"), index, st.integers(0, 200)),
    st.tuples(st.just("flip"), index, st.integers(0, 300)),
    st.tuples(st.just("junk"), index, st.binary(max_size=40)),
    st.tuples(st.just("nest"), index, st.integers(1, 5)),
    st.tuples(st.just("join"), index, index),
)


def damaged(steps: list[tuple[str, int, object]]) -> bytes:
    """The answers to all keys, after everything in ``steps`` has happened to them."""
    lines = [answer_line(key) for key in KEYS]
    for what, at, input_kind in steps:
        if not lines:
            break
        i = at % len(lines)
        line = lines[i]
        match what, input_kind:
            case "swap", int(j):
                j %= len(lines)
                lines[i], lines[j] = lines[j], lines[i]
            case "drop", _:
                del lines[i]
            case "twice", _:
                lines.append(line)
            case "foreign", _:
                lines.insert(i, answer_line(FOREIGN))
            case "error", code:
                lines[i] = msgspec.json.encode({"error": {"code": code}, "key": KEYS[at % len(KEYS)]})
            case "no key", _:
                lines.insert(i, b'{"response":{"candidates":[]}}')
            case "cut", int(count):
                lines[i] = line[:count]
            case "flip", int(place) if line:
                place %= len(line)
                lines[i] = line[:place] + bytes([line[place] ^ 0x15]) + line[place + 1 :]
            case "junk", bytes(junk):
                lines.insert(i, junk)
            case "nest", int(depth):
                lines.insert(i, b"[" * depth * 1000)
            case "join", _:
                lines[i] = line + lines[(i + 1) % len(lines)]
            case _:
                pass  # a flip in an empty line
    return b"\n".join(lines)


def error_line(key: str) -> bytes:
    return msgspec.json.encode({"error": {"code": 13, "message": "An internal error has occurred."}, "key": key})


def results_of(*raws: bytes) -> Iterator[Results]:
    """What comes of a run of so many jobs, whose raw files hold these bytes."""
    home = StateFolder(_FOLDER / f"home{next(_NUMBERS)}")
    folder = home.run("run-a")
    shutil.copytree(_TEMPLATES[len(raws)], folder.path)
    try:
        run = Run(
            id="run-a", identity="i", origin="made", created_at=0.0, method=Method.GENERATE, model="gemini-3.8-flash",
            backend="x", requests=len(KEYS), bytes=0, sha256="", source=None,
        )  # fmt: skip
        share = len(KEYS) // len(raws)
        jobs = [
            Job(
                id=f"run-a-{ordinal}", run="run-a", ordinal=ordinal, model="m", requests=share, tokens=0, part=None,
                offset=0, bytes=0, sha256="", input_kind="file", display_name="n", stage=JobStage.COLLECTED,
                batch=f"batches/x{ordinal}", state="JOB_STATE_SUCCEEDED", total=share,
            )
            for ordinal in range(1, len(raws) + 1)
        ]  # fmt: skip
        folder.raw("run-a-1").parent.mkdir()
        for job, raw in zip(jobs, raws, strict=True):
            folder.raw(job.id).write_bytes(raw)
            judge_file(ignore_events, folder, run, job, "NO_LINE")
        prices = default_book()
        facts = facts_of(folder, run, tuple(jobs))
        yield Results(run, jobs, home, summarize(home, run, jobs, of=facts, prices=prices, offline=False), prices)
    finally:
        shutil.rmtree(home.path)


@given(st.lists(damage, max_size=12))
def test_any_damage(steps: list[tuple[str, int, object]]) -> None:
    """Permutation, loss, duplication, foreign lines, cuts, flips, junk: the promise holds."""
    for found in results_of(damaged(steps)):
        rows = list(found)

        assert [row["key"] for row in rows] == KEYS
        for row in rows:
            body = msgspec.json.encode(row.get("response"))
            others = [key for key in [*KEYS, FOREIGN] if key != row["key"] and key.encode() in body]
            assert not others, "an answer stands under another key"
            assert ("error" in row) == (row["verdict"] != "succeeded")
        assert (found.summary.exit_code == 0) == all(row["verdict"] == "succeeded" for row in rows)
        assert sum(found.summary.verdicts.values()) == len(KEYS)


@given(st.binary(max_size=400))
def test_any_bytes(raw: bytes) -> None:
    """Bytes that were never a result file."""
    for found in results_of(raw):
        assert [row["key"] for row in found] == KEYS
        assert found.summary.exit_code == 5


@given(st.lists(st.tuples(st.integers(0, len(KEYS) - 1), st.integers(0, 1)), max_size=12))
def test_answers_in_the_file_of_another_job(placed: list[tuple[int, int]]) -> None:
    """Whatever answer stands in whichever of two files: it counts where its request was sent, and is set aside else."""
    files = [b"\n".join(answer_line(KEYS[n]) for n, file in placed if file == number) for number in (0, 1)]
    at_home = {n for n, file in placed if file == n // 3}

    for found in results_of(*files):
        rows = list(found)

        assert [row["key"] for row in rows] == KEYS
        assert [row["verdict"] for row in rows] == ["succeeded" if n in at_home else "missing" for n in range(6)]
        assert sum(found.summary.quarantined.values()) == sum(file != n // 3 for n, file in placed)


@given(st.permutations([answer_line(KEYS[0]), error_line(KEYS[0]), error_line(KEYS[0])]))
def test_a_good_answer_counts_wherever_it_stands(lines: list[bytes]) -> None:
    """A line that came twice, and only once as a success, is a success."""
    for found in results_of(b"\n".join(lines)):
        (first, *others) = found

        assert first["verdict"] == "succeeded"
        assert f"answer to {KEYS[0]}" in first["response"]["text"]
        assert {row["verdict"] for row in others} == {"missing"}
        assert found.summary.repeated == 2
