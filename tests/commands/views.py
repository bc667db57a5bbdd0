"""What every command says of one run, asked in a process of its own each; nothing of it may change what is paid."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from engine.fake import FakeSession
from gemini_batch.commands.clean import clean
from gemini_batch.commands.list_jobs import Filter, list_jobs
from gemini_batch.commands.results import results
from gemini_batch.commands.status import status
from gemini_batch.errors import JobError, NotFinished
from gemini_batch.report.job_view import JobStatus, RunStatus

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from engine.fake import FakeService
    from gemini_batch.commands.clean import Cleaned
    from gemini_batch.errors import Error
    from gemini_batch.report.result_set import Results


def ask(service: FakeService, folder: Path, work: Callable[[FakeSession], Awaitable[Any]]) -> Any:
    """One command in a process of its own."""

    async def whole() -> Any:
        async with FakeSession(service, folder / "home") as session:
            return await work(session)

    return asyncio.run(whole())


@dataclass
class Views:
    """``by_name`` has the status of each job of the run that was created; ``refused`` why results cannot be had.

    ``after``: the status of the run once results have collected what has ended, which shows what is to be resent.
    """

    run: RunStatus
    listed: list[JobStatus]
    by_name: dict[str, JobStatus]
    cleaned: Cleaned
    answers: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    results: Results | None = None
    refused: dict[str, Error] = field(default_factory=dict)
    after: RunStatus | None = None

    @property
    def unsent(self) -> list[JobStatus]:
        """The entries of the list for requests that no job was created for."""
        return [one for one in self.listed if one.job is None]


def views(service: FakeService, folder: Path, run_id: str) -> Views:
    """Ask every command that reads; the service does not move jobs on meanwhile."""
    seen = ask(service, folder, lambda s: status(s, run_id))
    assert isinstance(seen, RunStatus)
    names = [one.job for one in seen.jobs if one.job]
    found = Views(
        seen,
        [one for one in ask(service, folder, lambda s: list_jobs(s, Filter())) if one.run == run_id],
        {name: ask(service, folder, partial(status, name=name)) for name in names},
        ask(service, folder, lambda s: clean(s, dry_run=True, not_created=True)),
    )
    for name in [run_id, *names]:
        try:
            results_ = ask(service, folder, partial(results, name=name))
        except (NotFinished, JobError) as error:
            found.refused[name] = error
        else:
            found.results = results_
            found.answers[name] = list(results_)
    found.after = ask(service, folder, lambda s: status(s, run_id))
    return found
