"""The steps behind the parts ``memory`` and ``checking``, each in a process of its own; each prints one JSON object.

They call the library where a command would, up to the point at which a job could be sent: no service is needed.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from gemini_batch.commands.remembering import choose, remember
from gemini_batch.engine.creating.planner import plan_job
from gemini_batch.engine.judging import judge_file
from gemini_batch.engine.quota import Limits
from gemini_batch.events import ignore_events
from gemini_batch.intake.staging import stage
from gemini_batch.memory.catching_up import catch_up
from gemini_batch.memory.claims import claiming
from gemini_batch.memory.fingerprint import Origin
from gemini_batch.memory.index import Index
from gemini_batch.session import Session
from gemini_batch.settings import Settings
from gemini_batch.store.ledger.records import Job, JobStage, Run
from gemini_batch.store.ledger.run_options import REQUESTS_A_JOB, RunOptions, Selection
from gemini_batch.store.rows.conditions import REMEMBERED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gemini_batch.catalog import Method

MODEL = "gemini-2.5-flash"
_WORDS = ("red", "green", "blue", "small", "large", "light", "heavy", "wooden", "steel", "cotton", "round", "square")
_ANSWER = (
    '{{"key":"row-{0:08}","response":{{"candidates":[{{"content":{{"role":"model","parts":[{{"text":'
    '"A product for {0} people."}}]}},"finishReason":"STOP"}}],"usageMetadata":{{"promptTokenCount":48,'
    '"candidatesTokenCount":8,"totalTokenCount":56}},"modelVersion":"' + MODEL + '"}}}}\n'
)


def line(number: int, *, wording: int = 0) -> bytes:
    """One request of about 250 bytes. Another ``wording`` is another request under the same key."""
    words = " ".join(_WORDS[(number >> shift) % len(_WORDS)] for shift in range(0, 24, 2))
    prompt = f"Product {number}.{wording}, {words}. Describe it in one sentence."
    return (
        f'{{"key":"row-{number:08}","request":{{"contents":[{{"parts":[{{"text":"{prompt}"}}]}}],'
        '"generationConfig":{"temperature":0.2,"maxOutputTokens":64}}}\n'
    ).encode()


async def write(path: str, first: str, end: str, changed_every: str) -> dict[str, object]:
    """Write the requests with these numbers; one in ``changed_every`` of them is another request than usual."""
    every = int(changed_every)
    with Path(path).open("wb") as file:  # noqa: ASYNC230 - nothing else runs here
        file.writelines(line(n, wording=int(every > 0 and n % every == 0)) for n in range(int(first), int(end)))
    return {}


@contextmanager
def _timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    seconds[name] = time.perf_counter() - began


def _session(home: str) -> Session:
    return Session(Settings(home=Path(home), offline=True))


def _origin(session: Session) -> Callable[[Method], Origin]:
    return lambda _: Origin("offline", session.key_fingerprint(), MODEL)


def _enter(session: Session, name: str, file: Path, *, recognised: bool) -> Run:
    """Stage a file and enter it as a run, as ``intake.submission`` does."""
    place = session.state_folder.run(name)
    place.path.mkdir(parents=True)
    staged = stage(file, place, origin=_origin(session) if recognised else None, max_bytes=None)
    run = Run(
        id=name,
        identity=name,
        origin="made",
        created_at=session.world.now(),
        method=staged.method,
        model=MODEL,
        backend="offline",
        requests=staged.requests,
        bytes=staged.bytes,
        sha256=staged.sha256,
        source=str(file),
    )
    session.ledger().add_run(run, None, at=session.world.now())
    return run


async def _plan(session: Session, run: Run, requests: int) -> Job | None:
    return await plan_job(
        session.ledger(),
        session.state_folder.run(run.id),
        run,
        Limits(requests=requests, bytes=2 * 1024**3, tokens=None, jobs=100, queue=None),
        tokens=None,
        model=MODEL,
        display_name=run.id,
        key_fingerprint=session.key_fingerprint(),
        now=session.world.now,
    )


async def enter(home: str, name: str, file: str, memory: str) -> dict[str, object]:
    """Enter a file, look its rows up if ``memory`` is "with", and plan the first job."""
    seconds: dict[str, float] = {}
    async with _session(home) as session:
        with _timed(seconds, "stage"):
            run = _enter(session, name, Path(file), recognised=memory == "with")
        folder = session.state_folder.run(name)
        with folder.lock(wait=0.0):
            if memory == "with":
                with _timed(seconds, "recall"):
                    choose(session, run, RunOptions(selection=Selection()))
                    await remember(session, run, waits=True)
            with _timed(seconds, "plan"):
                job = await _plan(session, run, REQUESTS_A_JOB)
        with folder.rows() as rows:
            remembered = rows.at(REMEMBERED)
        return {"seconds": seconds, "planned": job.requests if job else 0, "remembered": remembered}


async def answer(home: str, name: str, file: str, a_job: str) -> dict[str, object]:
    """Make a run of a file, in jobs of ``a_job`` requests that are collected: every answer succeeded."""
    async with _session(home) as session:
        run = _enter(session, name, Path(file), recognised=True)
        folder = session.state_folder.run(name)
        while (job := await _plan(session, run, int(a_job))) is not None:
            raw = folder.raw(job.id)
            raw.parent.mkdir(exist_ok=True)
            with folder.rows() as rows, raw.open("w") as out:
                numbers = (int(key.removeprefix("row-")) for key, _, _ in rows.members(job.ordinal))
                out.writelines(_ANSWER.format(number) for number in numbers)
            judge_file(ignore_events, folder, run, job, "")
            at = session.world.now()
            session.ledger().update_job(job, "collected", at=at, stage=JobStage.COLLECTED, collected_at=at)
        return {}


async def fill(home: str, name: str, entries: str) -> dict[str, object]:
    """Put so many other rows into the index, of runs that no row of ours leads to."""
    count = int(entries)
    step = 2**128 // max(count, 1)
    chance = random.Random(7)
    async with _session(home) as session:
        session.ledger()
        at = session.world.now()
        job = Job(
            id=name, run=name, ordinal=1, model=MODEL, requests=count, tokens=0, part=None, offset=0, bytes=0,
            sha256=None, input_kind="file", display_name=name, stage=JobStage.COLLECTED, collected_at=at,
        )  # fmt: skip
        with Index(session.state_folder.memory) as index:
            rows = ((n * step + chance.randrange(step)).to_bytes(16, "big") for n in range(count))
            index.add(name, job, ((fingerprint, number) for number, fingerprint in enumerate(rows)))
        return {}


async def catch_up_with(home: str) -> dict[str, object]:
    """Enter what was collected since into the index."""
    seconds: dict[str, float] = {}
    async with _session(home) as session:
        with Index(session.state_folder.memory) as index, _timed(seconds, "catch_up"):
            catch_up(session.state_folder, session.ledger(), index, ignore_events)
        return {"seconds": seconds}


async def claim(home: str, name: str, file: str) -> dict[str, object]:
    """Enter a file, and record the intent of a create with all that waits in one job; then that it is collected."""
    seconds: dict[str, float] = {}
    async with _session(home) as session:
        run = _enter(session, name, Path(file), recognised=True)
        folder, ledger = session.state_folder.run(name), session.ledger()
        with folder.lock(wait=0.0):
            await remember(session, run, waits=True)
            job = await _plan(session, run, run.requests)
            assert job is not None
            with folder.rows() as rows, Index(session.state_folder.memory) as index:
                with _timed(seconds, "search"):
                    claims = claiming(rows, job, index)
                with _timed(seconds, "intent"):
                    job = ledger.update_job(job, "intends to create", at=0.0, claim=claims, stage=JobStage.INTENDED)
            with _timed(seconds, "collected"):
                ledger.update_job(job, "collected", at=0.0, stage=JobStage.COLLECTED)
        return {"seconds": seconds, "requests": job.requests}


_STEPS = {step.__name__: step for step in (write, enter, answer, fill, catch_up_with, claim)}

if __name__ == "__main__":
    print(json.dumps(asyncio.run(_STEPS[sys.argv[1]](*sys.argv[2:]))))
