"""Where lives come from that may end at any step: one process that has its imports, and forks (``dying.py``)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

TESTS = Path(__file__).parents[1]
#: An emulator of one's own, in the state folder.
OFFLINE = {"GEMINI_BATCH_OFFLINE": "1", "GEMINI_BATCH_SETTLE": "0.3"}


class Nature:
    """Runs one life at a time."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("dying.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])},
            text=True,
        )

    def live(
        self,
        folder: Path,
        words: tuple[str, ...],
        point: int | None = None,
        *,
        environment: Mapping[str, str] = OFFLINE,
        began: float | None = None,
    ) -> tuple[int, list[str]]:
        """Run a command until its end, or until it dies: its exit code, and its steps.

        ``began``: the time at which the life begins by its own clock, which then runs as that of ``quick.py`` does.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        asked = {"folder": str(folder), "words": words, "point": point, "environment": environment, "began": began}
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        found = json.loads(self._process.stdout.readline())
        return found["code"], found["steps"]

    def end(self) -> None:
        self._process.communicate()
