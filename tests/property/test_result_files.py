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

from gemini_batch.runs.collect import judge_file
from gemini_batch.runs.events import nobody
from gemini_batch.runs.home import Home, RunFolder
from gemini_batch.runs.ledger import Job, Life, Run
from gemini_batch.runs.results import Results, summarize
from gemini_batch.runs.stage import stage
from runs.fake import answer_line, write_requests

if TYPE_CHECKING:
    from collections.abc import Iterator

# Far apart from each other, so that no small damage turns one into another.
KEYS = [hashlib.sha256(bytes([n])).hexdigest()[:16] for n in range(6)]
FOREIGN = "f" * 16


def template() -> Path:
    """A run folder with staged requests, made once."""
    folder = Path(tempfile.mkdtemp(prefix="gemini-batch-property-"))
    run = RunFolder(folder / "run-a")
    run.path.mkdir()
    stage(write_requests(folder / "in.jsonl", KEYS), run, max_bytes=10**9, job=1)
    return folder


_TEMPLATE = template()
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
    for what, at, how in steps:
        if not lines:
            break
        i = at % len(lines)
        line = lines[i]
        match what, how:
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


def results_of(raw: bytes) -> Iterator[Results]:
    home = Home(_TEMPLATE / f"home{next(_NUMBERS)}")
    folder = home.run("run-a")
    shutil.copytree(_TEMPLATE / "run-a", folder.path)
    try:
        run = Run(
            id="run-a", identity="i", origin="made", created_at=0.0, method="generate", model="gemini-3.8-flash",
            backend="x", key_print="x", requests=len(KEYS), bytes=0, sha256="", source=None,
        )  # fmt: skip
        job = Job(
            id="run-a-1", run="run-a", ordinal=1, model="m", requests=len(KEYS), tokens=0, part=None, offset=0, bytes=0,
            sha256="", how="file", display_name="n", life=Life.COLLECTED, batch="batches/x",
            state="JOB_STATE_SUCCEEDED", total=len(KEYS),
        )  # fmt: skip
        folder.raw(job.id).parent.mkdir()
        folder.raw(job.id).write_bytes(raw)
        judge_file(nobody, folder, run, job, "NO_LINE")
        yield Results(run, [job], home, summarize(home, run, [job], offline=False))
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
