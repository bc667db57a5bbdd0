"""Whole processes, as a user starts them."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parents[2]


@dataclass
class User:
    """Somebody with a home, a working folder and no key."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder.mkdir(exist_ok=True)

    def _env(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("GOOGLE_", "GEMINI_"))}
        return {**kept, "GEMINI_BATCH_HOME": str(self.folder / "home"), **self.environment}

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start ``gemini-batch`` in the user's folder."""
        return subprocess.Popen(
            [sys.executable, "-m", "gemini_batch", *words],
            cwd=self.folder,
            env=self._env(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *words: str, check: int | None = 0) -> subprocess.CompletedProcess[str]:
        """Run ``gemini-batch`` to its end; ``check`` is the exit code that is expected."""
        process = self.start(*words)
        out, err = process.communicate(timeout=90)
        done = subprocess.CompletedProcess(words, process.returncode, out, err)
        assert "Traceback" not in err, err
        if check is not None:
            assert done.returncode == check, (done.returncode, out, err)
        return done

    def write_requests(self, keys: Sequence[str], name: str = "requests.jsonl", *, text: str = "Say") -> Path:
        """A request file with these keys."""
        path = self.folder / name
        with path.open("wb") as file:
            for key in keys:
                request = {"contents": [{"parts": [{"text": f"{text} {key}"}]}]}
                file.write(msgspec.json.encode({"key": key, "request": request}) + b"\n")
        return path
