"""Plays a situation: the emulator on a socket, and the three scripts of the skill as processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from gemini_batch.emulator.server import serve
from gemini_batch.testing import GeminiEmulator
from matrix.judge import Ended, Outcome, prompt
from matrix.situations import KEYS

if TYPE_CHECKING:
    from matrix.situations import Situation

ROOT = Path(__file__).parents[2]


def play(situation: Situation, folder: Path) -> Outcome:
    """Run create, status and results in an empty ``folder``, and count what the service was asked for.

    Raises RuntimeError where the commands got by without meeting the situation: nothing would be shown then.
    """
    work = folder / "work"
    work.mkdir(parents=True)
    with (work / "requests.jsonl").open("wb") as file:
        for key in KEYS:
            request = {"contents": [{"parts": [{"text": prompt(key)}]}]}
            file.write(msgspec.json.encode({"key": key, "request": request}) + b"\n")
    with serve(folder / "service") as running:
        service = GeminiEmulator(running.url, folder / "service", running.emulator)
        if situation.fault is not None:
            service.faults.arm(**situation.fault)
        create = _script("create_batch.py", "requests.jsonl", folder=work, url=service.url)
        job = create.out.strip() or "batches/none"
        status = _script("check_status.py", job, "--wait", "--poll", "0.05", folder=work, url=service.url)
        results = _script("get_results.py", job, "--output", "results.jsonl", folder=work, url=service.url)
        if not all(fault["played"] for fault in service.faults.armed()):
            raise RuntimeError(f"The situation was not met: {situation.name}")
        spent = service.accounting()
    written = work / "results.jsonl"
    lines = [msgspec.json.decode(line) for line in written.read_bytes().splitlines()] if written.exists() else None
    return Outcome(
        create=create,
        status=status,
        results=results,
        lines=lines,
        jobs=spent["totals"]["jobs"],
        paid=spent["keys"],
    )


def _script(name: str, *words: str, folder: Path, url: str) -> Ended:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GOOGLE_", "GEMINI_"))}
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / name), *words],
        cwd=folder,
        env={
            **kept,
            "GEMINI_BATCH_HOME": str(folder.parent / "home"),
            "GOOGLE_GEMINI_BASE_URL": url,
            "GEMINI_API_KEY": "any",
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    return Ended(code=done.returncode, out=done.stdout, err=done.stderr)
