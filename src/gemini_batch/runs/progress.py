"""How far a run is: verdicts, tokens and money of the answers so far."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini_batch.runs.results import LONG_PROMPT, money

if TYPE_CHECKING:
    from gemini_batch.runs.records import Job, Run
    from gemini_batch.runs.rows import Rows


class Progress:
    """Verdicts, tokens and money so far. Counting reads every row, so it is done when a job has come in."""

    def __init__(self) -> None:
        self.verdicts: dict[str, int] = {}
        self.tokens = 0
        self.usd: float | None = None
        self._counted = -1

    def count(self, rows: Rows, run: Run, jobs: tuple[Job, ...], done: int) -> None:
        """Count again if another number of jobs is ``done``."""
        if done == self._counted:
            return
        self._counted = done
        usage = rows.usage(LONG_PROMPT)
        self.verdicts = {v: n for v, n in rows.counts().items() if v != "missing"}
        self.tokens = sum(u["input"] + u["output"] + u["thoughts"] + u["tool_use"] for u in usage)
        self.usd = money(run, jobs, usage).batch
