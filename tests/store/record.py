"""Records a state folder of an earlier version, with a job at each stage: ``python record.py INSTALLATION OUT``.

``INSTALLATION`` is a virtual environment that holds gemini-batch 1.0.0, ``OUT`` the archive to write. Each run is one
request file and a few commands, offline; the last command is killed at the stage that the run is recorded for. What
the archive holds: ``NAME.jsonl`` for each run, the state folder ``home`` with the emulator's own data in it, and
``recorded.json``: the time, and what became of each command.

With 1.0.0 this file starts itself in that version's interpreter, so it imports nothing but the standard library.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import inspect
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tarfile
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

#: Where a process is killed: before (or ``after``) the first call of a function of 1.0.0. ``what``: the first with this
#: event. ``one_upload``: no second upload begins until then.
KILLS: dict[str, dict[str, Any]] = {
    "before the upload": {"of": "api.files:start_upload"},
    "within the upload": {"of": "api.files:send_upload"},
    "after the upload, not written down": {"of": "runs.ledger:Ledger.uploaded"},
    "after the upload": {"of": "runs.ledger:Ledger.uploaded", "after": True},
    "before the create": {"of": "api.batches:create"},
    "after the create": {"of": "api.batches:create", "after": True},
    "before the download": {"of": "api.files:download"},
    "before the verdicts": {"of": "runs.rows:Rows.begin_source"},
    "before collected": {"of": "runs.ledger:Ledger.update_job", "what": "collected"},
    "one created, two planned": {"of": "runs.ledger:Ledger.seen", "after": True, "one_upload": True},
    "before a job is planned": {"of": "runs.ledger:Ledger.add_job"},
    "after the options": {"of": "runs.ledger:Ledger.set_options", "after": True},
}


@dataclass(frozen=True)
class Recorded:
    """One run: its commands (``FILE``, ``JOB`` and ``RUN`` stand for its own), and where one of them is killed."""

    commands: tuple[tuple[str, ...], ...]
    kill: str | None = None
    #: The stages that its jobs have in the ledger, in order.
    stages: tuple[str, ...] = ()
    #: Whether the answers are cut off: room for one token.
    cut: bool = False
    #: Which command is killed.
    killed: int = -1

    def keys(self, name: str) -> list[str]:
        """The keys of its requests."""
        return [f"{name}-{number}" for number in range(3)]

    def lines(self, name: str) -> bytes:
        """Its request file."""
        config = {"generationConfig": {"maxOutputTokens": 1}} if self.cut else {}
        contents = {key: [{"parts": [{"text": f"Say {key}"}]}] for key in self.keys(name)}
        return b"".join(
            json.dumps({"key": key, "request": {"contents": contents[key], **config}}).encode() + b"\n"
            for key in contents
        )


CREATE, RUN, RETRY = ("create", "FILE"), ("run", "FILE"), ("retry", "RUN", "--only", "truncated")
RESULTS = ("results", "JOB", "-o", "answers.jsonl")
ONE_BY_ONE = (*RUN, "--max-requests-per-job", "1", "--attempts", "2", "--name", "one by one")
LONGER = (*RETRY, "--max-output-tokens", "100")

#: What is recorded. Adopted jobs come first: the ledger that made them is thrown away. Then the run that is forgotten:
#: ``clean`` forgets all that were not created by then.
ADOPTED = {
    "adopted": Recorded((CREATE, ("FORGET",), RESULTS), stages=("collected",)),
    "adopted-ended": Recorded((CREATE, ("FORGET",), RESULTS), "before the download", ("ended",)),
}
MADE = {
    "forgotten": Recorded((CREATE, ("clean", "--not-created", "--yes")), "before the upload", ("planned",), killed=0),
    "planned": Recorded((CREATE,), "before the upload", ("planned",)),
    "planned-session": Recorded((CREATE,), "within the upload", ("planned",)),
    "planned-arrived": Recorded((CREATE,), "after the upload, not written down", ("planned",)),
    "uploaded": Recorded((CREATE,), "after the upload", ("uploaded",)),
    "intended-unsent": Recorded((CREATE,), "before the create", ("intended",)),
    "intended-made": Recorded((CREATE,), "after the create", ("intended",)),
    "inline-unsent": Recorded(((*CREATE, "--inline"),), "before the create", ("intended",)),
    "inline-made": Recorded(((*CREATE, "--inline"),), "after the create", ("intended",)),
    "created": Recorded((CREATE,), stages=("created",)),
    "ended": Recorded((CREATE, RESULTS), "before the download", ("ended",)),
    "ended-raw": Recorded((CREATE, RESULTS), "before the verdicts", ("ended",)),
    "ended-judged": Recorded((CREATE, RESULTS), "before collected", ("ended",)),
    "collected": Recorded((CREATE, RESULTS), stages=("collected",)),
    "run-of-three": Recorded((ONE_BY_ONE,), "one created, two planned", ("created", "planned", "planned")),
    "run-finished": Recorded((ONE_BY_ONE,), stages=("collected",) * 3),
    "retry-chosen": Recorded((RUN, LONGER), "after the options", ("collected",), cut=True),
    "retry-waiting": Recorded((RUN, LONGER), "before a job is planned", ("collected",), cut=True),
    "retry-uploaded": Recorded((RUN, LONGER), "after the upload", ("collected", "uploaded"), cut=True),
    "retry-made": Recorded((RUN, LONGER), "after the create", ("collected", "intended"), cut=True),
    "retry-finished": Recorded((RUN, LONGER), stages=("collected", "collected"), cut=True),
}
RUNS = {**ADOPTED, **MADE}

RUN_OF = "SELECT id FROM runs WHERE source LIKE ?"
STAGES = f"SELECT life FROM jobs WHERE run = ({RUN_OF}) ORDER BY ordinal"
STAGES_OF_JOB = "SELECT life FROM jobs WHERE batch = ?"

ARCHIVE = Path(__file__).parent / "recorded" / "1.0.0.tar.xz"


# In the earlier version's own interpreter ---------------------------------------------------------------------------


def _with_death(function: Callable[..., Any], *, after: bool = False, what: str | None = None) -> Callable[..., Any]:
    """The same function, in which the process is killed."""

    def reached(arguments: tuple[object, ...], *, end: bool) -> None:
        if end is after and (what is None or what in arguments):
            os.kill(os.getpid(), signal.SIGKILL)

    if inspect.iscoroutinefunction(function):

        async def wrapped(*arguments: object, **named: object) -> object:
            reached(arguments, end=False)
            found = await function(*arguments, **named)
            reached(arguments, end=True)
            return found

        return wrapped

    def plain(*arguments: object, **named: object) -> object:
        reached(arguments, end=False)
        found = function(*arguments, **named)
        reached(arguments, end=True)
        return found

    return plain


def _replace(place: str, change: Callable[[Any], Any]) -> None:
    """Put another function in the place of one of that version's."""
    module, _, path = place.partition(":")
    owner: Any = importlib.import_module(f"gemini_batch.{module}")
    *outer, name = path.split(".")
    for part in outer:
        owner = getattr(owner, part)
    setattr(owner, name, change(getattr(owner, name)))


def _one_upload(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function; every call but the first never ends."""
    first = [True]

    async def wrapped(*arguments: object, **named: object) -> object:
        if first:
            first.clear()
            return await function(*arguments, **named)
        return await asyncio.Event().wait()

    return wrapped


def _act(kill: str, words: list[str]) -> None:
    """One command of that version, killed at a point of :data:`KILLS`, if any."""
    if kill:
        point = dict(KILLS[kill])
        if point.pop("one_upload", False):
            _replace("api.files:start_upload", _one_upload)
        _replace(point.pop("of"), lambda function: _with_death(function, **point))
    importlib.import_module("gemini_batch.cli").main(words)


def _learn(ledger: str) -> None:
    """Write bounds of a quota, as that version learns them from a refusal."""
    records = importlib.import_module("gemini_batch.runs.records")
    with importlib.import_module("gemini_batch.runs.ledger").Ledger(Path(ledger)) as opened:
        bounds = records.Ceiling(refused=3_000_000, accepted=1_000_000)
        opened.learn(opened.key_print("offline"), "gemini-3-flash-preview", bounds, at=time.time())


# Recording ----------------------------------------------------------------------------------------------------------


class _Recorder:
    def __init__(self, python: Path, folder: Path) -> None:
        self._python, self._folder = python, folder
        self._home = folder / "home"
        self.done: dict[str, list[dict[str, object]]] = {}
        self._jobs: dict[str, str] = {}

    def _start(self, *words: str) -> subprocess.CompletedProcess[str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("GOOGLE_", "GEMINI_"))}
        environment = {**kept, "GEMINI_BATCH_HOME": str(self._home), "GEMINI_BATCH_OFFLINE": "1"}
        return subprocess.run(
            [self._python, Path(__file__).resolve(), *words],
            cwd=self._folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def _ask(self, sql: str, *values: str) -> list[str]:
        with contextlib.closing(sqlite3.connect(self._home / "offline" / "ledger.db")) as ledger:
            return [str(row[0]) for row in ledger.execute(sql, values)]

    def command(self, name: str, words: tuple[str, ...], kill: str | None) -> None:
        file = f"{name}.jsonl"
        meant = {"FILE": file, "JOB": self._jobs.get(name, "")}
        if "RUN" in words:
            meant["RUN"] = self._ask(RUN_OF, f"%/{file}")[0]
        done = self._start("--act", kill or "", *(meant.get(word, word) for word in words))
        if kill is not None and done.returncode != -signal.SIGKILL:
            raise SystemExit(f"{name}: {words} was not killed {kill}: {done.returncode}\n{done.stderr}")
        if kill is None and done.returncode not in {0, 1}:
            raise SystemExit(f"{name}: {words} ended with {done.returncode}\n{done.stderr}")
        if words[0] == "create":
            self._jobs[name] = done.stdout.strip()
        self.done.setdefault(name, []).append({"words": words, "code": done.returncode, "stdout": done.stdout})

    def record(self) -> None:
        for name, run in RUNS.items():
            (self._folder / f"{name}.jsonl").write_bytes(run.lines(name))
        for name in ADOPTED:
            self.command(name, CREATE, None)
        for gone in (self._home / "offline").glob("ledger.db*"):
            gone.unlink()
        shutil.rmtree(self._home / "offline" / "runs")
        for name, run in RUNS.items():
            commands = run.commands[2:] if name in ADOPTED else run.commands
            for words in commands:
                self.command(name, words, run.kill if words is run.commands[run.killed] else None)
            found = (
                self._ask(STAGES_OF_JOB, self._jobs[name]) if name in ADOPTED else self._ask(STAGES, f"%/{name}.jsonl")
            )
            if tuple(found) != run.stages:
                raise SystemExit(f"{name}: its jobs are {found}, and not {run.stages}")
        self._start("--learn", str(self._home / "offline" / "ledger.db"))


def main(installation: Path, out: Path) -> None:
    """Record a state folder with the version that is installed there."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        recorder = _Recorder(installation.absolute() / "bin" / "python", folder)
        recorder.record()
        (folder / "answers.jsonl").unlink()
        document = {"at": time.time(), "commands": recorder.done}
        (folder / "recorded.json").write_text(json.dumps(document, indent=1), encoding="utf-8")
        with tarfile.open(out, "w:xz", format=tarfile.PAX_FORMAT) as archive:
            for path in sorted(folder.rglob("*")):
                archive.add(path, str(path.relative_to(folder)), recursive=False, filter=_nobodys)


def _nobodys(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Without the name of whoever recorded."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


if __name__ == "__main__":
    if sys.argv[1] == "--act":
        _act(sys.argv[2], sys.argv[3:])
    elif sys.argv[1] == "--learn":
        _learn(sys.argv[2])
    else:
        main(Path(sys.argv[1]), Path(sys.argv[2]))
