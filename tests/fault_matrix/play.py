"""Plays a situation: the emulator on a socket, and our commands as processes of their own."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from fault_matrix.judge import Ended, Outcome, RunOutcome, prompt
from fault_matrix.situations import KEYS
from gemini_batch.emulator.http.server import serve
from gemini_batch.testing import GeminiEmulator

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fault_matrix.situations import Situation

ROOT = Path(__file__).parents[2]


def play(situation: Situation, folder: Path) -> Outcome:
    """Run create, status and results in an empty ``folder``, and count what the service was asked for.

    Raises RuntimeError where the commands got by without meeting the situation: nothing would be shown then.
    """
    with _served(situation.fault, folder) as (user, service):
        create = user.script("create_batch.py", "requests.jsonl")
        job = create.out.strip() or "batches/none"
        status = user.script("check_status.py", job, "--wait", "--poll", "0.05")
        results = user.script("get_results.py", job, "--output", "results.jsonl")
        _check_met(service, situation)
        spent = service.accounting()
        return Outcome(
            create=create,
            status=status,
            results=results,
            lines=user.lines("results.jsonl"),
            jobs=spent["totals"]["jobs"],
            paid=spent["keys"],
        )


def play_run(situation: Situation, folder: Path, *, lasting: bool = False, vertex: bool = False) -> RunOutcome:
    """Run ``gemini-batch run`` in an empty ``folder``, and the same again. ``lasting``: every job meets the fault.
    ``vertex``: at Vertex AI.

    Raises RuntimeError as :func:`play` does.
    """
    fault = {**(situation.fault or {}), "times": 0} if lasting else situation.fault
    with _served(fault, folder) as (user, service):
        if vertex:
            user.use_vertex(service)
        words = ("run", "requests.jsonl", "-o", "results.jsonl", "--poll", "0.05")
        first = user.command(*words)
        _check_met(service, situation)
        spent, lines, failures = service.accounting(), user.lines("results.jsonl"), user.lines("failures.jsonl")
        again = user.command(*words)
        return RunOutcome(
            first=first,
            again=again,
            lines=lines,
            lines_again=user.lines("results.jsonl"),
            failures=None if failures is None else [line["key"] for line in failures],
            jobs=spent["totals"]["jobs"],
            jobs_again=service.accounting()["totals"]["jobs"],
            paid=spent["keys"],
        )


class _User:
    """Somebody at a shell in a folder with a request for each key."""

    def __init__(self, folder: Path, url: str) -> None:
        self._work, self._state_folder, self._url = folder / "work", folder / "home", url
        self._more: dict[str, str] = {}
        self._work.mkdir(parents=True)
        with (self._work / "requests.jsonl").open("wb") as file:
            for key in KEYS:
                request = {"contents": [{"parts": [{"text": prompt(key)}]}]}
                file.write(msgspec.json.encode({"key": key, "request": request}) + b"\n")

    def use_vertex(self, service: GeminiEmulator) -> None:
        """Take the service as Vertex AI from now on."""
        service.add_bucket("bucket")
        self._more = {
            "GEMINI_BATCH_BACKEND": "vertex",
            "GEMINI_BATCH_BUCKET": "gs://bucket",
            "GOOGLE_CLOUD_PROJECT": "project",
            "GOOGLE_VERTEX_BASE_URL": self._url,
            "STORAGE_EMULATOR_HOST": self._url,
        }

    def script(self, name: str, *words: str) -> Ended:
        return self._ran(str(ROOT / "scripts" / name), *words)

    def command(self, *words: str) -> Ended:
        return self._ran("-m", "gemini_batch", *words)

    def lines(self, name: str) -> list[dict[str, Any]] | None:
        """The lines of a file, None where there is none."""
        path = self._work / name
        return [msgspec.json.decode(line) for line in path.read_bytes().splitlines()] if path.exists() else None

    def _ran(self, *words: str) -> Ended:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("GOOGLE_", "GEMINI_"))}
        done = subprocess.run(
            [sys.executable, *words],
            cwd=self._work,
            env={
                **kept,
                "GEMINI_BATCH_HOME": str(self._state_folder),
                "GOOGLE_GEMINI_BASE_URL": self._url,
                "GEMINI_API_KEY": "any",
                **self._more,
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        return Ended(code=done.returncode, out=done.stdout, err=done.stderr)


@contextlib.contextmanager
def _served(fault: Mapping[str, object] | None, folder: Path) -> Iterator[tuple[_User, GeminiEmulator]]:
    with serve(folder / "service") as running:
        service = GeminiEmulator(running.url, folder / "service", running.emulator)
        if fault is not None:
            service.faults.arm(**fault)
        yield _User(folder, service.url), service


def _check_met(service: GeminiEmulator, situation: Situation) -> None:
    if not all(fault["played"] for fault in service.faults.armed()):
        raise RuntimeError(f"The situation was not met: {situation.name}")
