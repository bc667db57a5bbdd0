"""The verbs that look after jobs that exist; they are part of :class:`gemini_batch.AsyncGeminiBatch`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from gemini_batch.async_base import takes_addresses
from gemini_batch.async_files import AsyncFiles

if TYPE_CHECKING:
    import os

    from gemini_batch.commands.adopt import Adopted
    from gemini_batch.commands.cancel import Cancelled
    from gemini_batch.commands.clean import Cleaned
    from gemini_batch.commands.doctor import Diagnosis
    from gemini_batch.report.job_view import JobStatus


class AsyncJobs(AsyncFiles):
    """Also lists, cancels, adopts and checks jobs, and cleans up after them."""

    async def list_jobs(
        self,
        *,
        alive: bool = False,
        state: str | None = None,
        name: str | None = None,
        model: str | None = None,
        limit: int | None = None,
        refresh: bool = False,
        remote: bool = False,
        long: bool = False,
    ) -> list[JobStatus]:
        """The jobs of this state folder, newest first, as last seen; ``refresh`` polls those that may be alive.

        ``alive``, ``state``, ``name`` and ``model`` (parts of the text) and ``limit`` narrow the list. ``remote`` adds
        the jobs of the key's project that this state folder does not know. Raises UsageError, ServiceError, StateError.
        """
        from gemini_batch.commands import list_jobs as room

        wanted = room.Filter(alive=alive, state=state, name=name, model=model, limit=limit)
        return await room.list_jobs(self._session(), wanted, refresh=refresh, remote=remote, long=long)

    async def cancel(self, job_name: str, *, wait: bool = True) -> Cancelled:
        """Ask the service to stop a job; with ``wait``, wait for its end and keep its answers.

        Requests answered by then may be billed. Raises UsageError, ServiceError, StateError.
        """
        from gemini_batch.commands import cancel as room

        return await room.cancel(self._session(), job_name, wait=wait)

    async def clean(
        self,
        *,
        dry_run: bool = False,
        not_created: bool = False,
        local: bool = False,
        older_than: float | None = None,
        keep_results: bool = False,
    ) -> Cleaned:
        """Delete input files at the service that were uploaded from this state folder and that no active job needs.

        ``dry_run``: only report them. ``not_created``: also forget runs whose job was certainly never created.
        ``local``: instead, delete requests and answers on this machine of runs that finished more than ``older_than``
        seconds ago (90 days), unless other runs use them; their rows are forgotten, and would be paid for again.
        Verdicts, tokens and cost are kept. ``keep_results``: delete only copies that no result needs.

        Raises UsageError, ServiceError, StateError.
        """
        from gemini_batch.commands import clean as room
        from gemini_batch.commands.clean_local import clean_local

        room.check_options(not_created=not_created, local=local, older_than=older_than, keep_results=keep_results)
        if local:
            return clean_local(self._session(), dry_run=dry_run, older_than=older_than, keep_results=keep_results)
        return await room.clean(self._session(), dry_run=dry_run, not_created=not_created)

    @takes_addresses(reads="input_file", writes="output")
    async def adopt(
        self, job_name: str, input_file: str | os.PathLike[str], *, output: str | os.PathLike[str] | None = None
    ) -> Adopted:
        """Make a run of a job that was created elsewhere and the file of its requests, joined by key; sends nothing.

        A job that has ended is collected, and its results are written to ``output``. Raises UsageError, ServiceError,
        StateError.
        """
        from gemini_batch.commands import adopt as room

        to = None if output is None else Path(output)
        return await room.adopt(self._session(), job_name, Path(input_file), output=to)

    async def doctor(self) -> Diagnosis:
        """Check that the ledger, the run folders and the service still agree.

        Raises StateError if the ledger cannot be opened.
        """
        from gemini_batch.commands import doctor as room

        return await room.doctor(self._session())
