"""The client that stays open over many calls, for ``await``. The verbs are written down here, once.

:class:`gemini_batch.GeminiBatch` has the same ones without ``await``; :mod:`gemini_batch.aio` has each as a function.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from gemini_batch.async_base import takes_addresses
from gemini_batch.async_shards import AsyncShards

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Sequence
    from typing import Unpack

    from gemini_batch.commands.create import Created
    from gemini_batch.intake.table_options import ArrowStream, TableOptions
    from gemini_batch.money.limits import MaxUsd, Usd
    from gemini_batch.report.job_view import JobStatus, RunStatus
    from gemini_batch.report.result_set import Results
    from gemini_batch.store.ledger.records import Via
    from gemini_batch.store.ledger.run_options import Route


class AsyncGeminiBatch(AsyncShards):
    """The verbs for ``await``, over one ledger and one connection, which are opened when they are first needed.

    ``settings``: by default those of the environment and of a ``.env`` in the working folder, read at the first call
    that needs them. ``offline``: True for the local emulator, False for the service, whatever the settings say.
    ``on_event`` is called on the event loop's thread; see :mod:`gemini_batch.events`. Calls may overlap.
    Files, in and out, may be addresses of objects (``s3://bucket/name``), with the extra ``objects``.

    Use it as an async context manager, or call :meth:`aclose` at the end; a closed client raises ``RuntimeError``.
    """

    @takes_addresses(reads="input_file")
    async def create(
        self,
        input_file: str | os.PathLike[str] | Iterable[object] | ArrowStream | None = None,
        *,
        model: str | None = None,
        model_check: bool = True,
        name: str | None = None,
        limit: int | None = None,
        sample: int | None = None,
        sample_seed: int = 0,
        inline: bool = False,
        new: bool = False,
        dedupe: bool = False,
        lenient: bool = False,
        max_usd: MaxUsd | Usd | None = None,
        **table: Unpack[TableOptions],
    ) -> Created:
        """Create one batch job from those requests of a JSONL file that were not sent before. Costs money.

        If all were sent before, attach to the job that they have. Requests that were answered in another run are not
        sent, nor are those that are in a job of another run.

        ``model``: default ``gemini-3-flash-preview``. ``model_check=False``: send to any model; what speaks
        against it is only a warning. ``name``: the display name, sent unchanged. ``limit``: a trial of the first N
        requests, those sent before included; without it, the rest is sent. ``sample``: a trial of N requests that
        ``sample_seed`` chooses. ``inline``: send the requests in the call itself (under 20 MB). ``new``: send
        everything, whatever was sent or answered before. ``dedupe``: send identical requests once. ``lenient``: refuse
        only lines that the service certainly refuses. ``max_usd``: the most that the run may cost, in USD, or a
        :class:`~gemini_batch.MaxUsd`; a job that may exceed it is not created.

        Raises UsageError (:class:`~gemini_batch.InvalidInput` with every problem of the file) before anything is sent,
        StateError for a problem with the disk or the ledger, ServiceError for one with the service or network.
        """
        from gemini_batch.commands import create as room
        from gemini_batch.intake.table_options import submission

        file = submission(
            input_file,
            table,
            model=model,
            model_check=model_check,
            name=name,
            limit=limit,
            sample=sample,
            sample_seed=sample_seed,
            inline=inline,
            new=new,
            dedupe=dedupe,
            lenient=lenient,
            max_usd=max_usd,
        )
        return await room.create(self._session(), file)

    async def status(
        self,
        job_name: str,
        *,
        wait: bool = False,
        timeout: float | None = None,  # noqa: ASYNC109 - it ends with the documented error, and cancels nothing
    ) -> JobStatus | RunStatus:
        """The state of a job (``batches/…``) or a run (``run-…``); with ``wait``, once its results are available.

        ``timeout``: the maximum wait in seconds. Costs nothing and cancels nothing. Raises UsageError, NotFinished
        (reason code ``timeout``) if the job has not ended by then, ServiceError, StateError.
        """
        from gemini_batch.commands import status as room

        return await room.status(self._session(), job_name, wait=wait, timeout=timeout)

    @takes_addresses(writes="output", folders=("output_dir", "media_dir"))
    async def results(
        self,
        job_name: str,
        *,
        job_only: bool = False,
        accept_incomplete: bool = False,
        output: str | os.PathLike[str] | None = None,
        media_dir: str | os.PathLike[str] | None = None,
        raw: bool = False,
        details: bool = False,
        spreadsheet: bool = False,
        prefix: str | None = None,
        output_dir: str | os.PathLike[str] | None = None,
        markdown: bool = False,
    ) -> Results:
        """The results of a run, named by its id or by any of its jobs: iterate over them, or read ``.summary``.

        There is one result for each request that was sent, in input order; ``job_only`` selects only the answers of the
        named job. ``accept_incomplete``: take the answers of a job that gives fewer than the service counts; the other
        requests become ``missing``. ``output`` also writes the results to a file: the rows of the table with their
        answers if its name ends as that of a table. ``details``: also what each answer used and cost, and its model, in
        tables and result lines. ``spreadsheet``, ``prefix``: how a table is written
        (:class:`~gemini_batch.TableStyle`).
        ``output_dir``: also write each text to a file of its own in this folder, ``.md`` with ``markdown``.

        ``media_dir``: the folder to which images and speech are written as results are read; results name their files.
        Files that gemini-batch did not write there are never replaced. ``raw``: the lines are the service's own,
        unchanged, and a request without an answer has none; with ``media_dir``, files are written and the lines keep
        their data.

        Answers are fetched once and kept, so another call needs no network. Raises NotFinished while the job is alive,
        JobError if it ended without answers, UsageError, ServiceError, StateError.
        """
        from gemini_batch.answers.media import MediaWriter
        from gemini_batch.commands import results as room
        from gemini_batch.report.output_files import check_output, refuse_raw
        from gemini_batch.report.result_set import TableStyle
        from gemini_batch.tables.outputs.folder import text_folder

        texts = text_folder(output_dir, markdown=markdown)
        if output is not None:
            check_output(self._session().state_folder, Path(output), failures=False)
        if raw:
            refuse_raw(None if output is None else Path(output), details=details)
        if media_dir is not None:
            MediaWriter(Path(media_dir)).check_place()
        found = await room.results(self._session(), job_name, job_only=job_only, accept_incomplete=accept_incomplete)
        if media_dir is not None:
            found = dataclasses.replace(found, _media=MediaWriter(Path(media_dir), run=found.summary.run))
        style = TableStyle(details=details, spreadsheet=spreadsheet, prefix=prefix)
        found = dataclasses.replace(found, _raw=raw, _style=style)
        if output is not None:
            found.write(Path(output))
        if texts is not None:
            found.write_texts(texts, markdown=markdown)
        return found

    @takes_addresses(reads="what", writes="output", folders=("output_dir",))
    async def run(
        self,
        what: str | os.PathLike[str] | Iterable[object] | ArrowStream | None = None,
        *,
        output: str | os.PathLike[str] | None = None,
        model: str | None = None,
        model_check: bool = True,
        name: str | None = None,
        limit: int | None = None,
        sample: int | None = None,
        sample_seed: int = 0,
        new: bool = False,
        dedupe: bool = False,
        lenient: bool = False,
        max_requests_per_job: int | None = None,
        max_tokens_per_job: int | None = None,
        attempts: int | None = None,
        tier: int | None = None,
        via: Route | None = None,
        concurrency: int | None = None,
        allow_standard: bool | None = None,
        flex_rows: int | None = None,
        flex_tokens: int | None = None,
        deadline: float | None = None,
        finish_via: Via | None = None,
        after: float | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - it ends with the documented error, and cancels nothing
        webhook_url: str | None = None,
        webhook_port: int | None = None,
        max_usd: MaxUsd | Usd | None = None,
        details: bool = False,
        spreadsheet: bool = False,
        output_dir: str | os.PathLike[str] | None = None,
        markdown: bool = False,
        **table: Unpack[TableOptions],
    ) -> Results:
        """Validate a file, split it into jobs, send them as the queue has room, wait, collect, and resend temporary
        failures; or continue a known run (``run-…``, or the name of one of its jobs). Returns the results, and writes
        them to ``output`` if it is given. Costs money.

        ``max_requests_per_job``, ``max_tokens_per_job``: the maximum size of a job. ``attempts``: the maximum attempts
        per request (3). ``tier``: keeps enqueued tokens under that tier's limit; without it, the limit is learned from
        refusals. ``via``: ``"flex"`` sends each request as a call of its own, ``concurrency`` (64) of them at once at
        most; ``"auto"`` does so with at most ``flex_rows`` requests of ``flex_tokens`` tokens, or if a batch would not
        be in time for a ``deadline`` in so many seconds; ``finish_via="flex"`` also cancels the run's jobs that are at
        least ``after`` seconds old (a day), and sends what they leave unanswered; ``allow_standard`` goes on if the
        service serves, and charges, calls as standard ones. ``timeout``: the maximum time in seconds; the jobs
        continue. The rest is as for :meth:`create`.
        After a crash, an interruption or a timeout, the same call continues where it stopped. ``webhook_url``: the
        public address at which the service announces the ends of new jobs, and which leads to ``webhook_port`` on this
        machine (8787); it only makes the next poll come sooner. ``max_usd``: jobs are made so that they cannot exceed
        it; when the next request may, the run ends with NotFinished (``budget_reached``), and its answers are kept.

        Raises UsageError (:class:`~gemini_batch.InvalidInput` with every problem of the file) before anything is sent,
        NotFinished (reason code ``timeout``) when the time is over, ServiceError if the service refuses permanently,
        StateError.
        """
        from gemini_batch.commands import run as room
        from gemini_batch.commands.finishing import AFTER, check_ways
        from gemini_batch.commands.listen import address
        from gemini_batch.intake.submission import check_selection
        from gemini_batch.intake.table_options import names_run, refuse_table, submission
        from gemini_batch.intake.tabular import check_named, check_not_read
        from gemini_batch.report.result_set import TableStyle
        from gemini_batch.store.ledger.run_options import RunOptions
        from gemini_batch.tables.outputs.folder import text_folder

        texts = text_folder(output_dir, markdown=markdown)  # before anything is sent
        check_ways(via, finish_via, after, flex_rows=flex_rows, flex_tokens=flex_tokens, deadline=deadline)
        options = RunOptions.of(
            max_requests_per_job=max_requests_per_job,
            max_tokens_per_job=max_tokens_per_job,
            attempts=attempts,
            tier=tier,
            via=finish_via or via,
            concurrency=concurrency,
            allow_standard=allow_standard,
            flex_rows=flex_rows,
            flex_tokens=flex_tokens,
            deadline=None if deadline is None else self._session().world.now() + deadline,
        )
        options = (options or RunOptions()).capped(max_usd)
        known = names_run(what)
        if known:
            refuse_table(str(what), table)
        file = submission(
            what,
            table,
            model=model,
            model_check=model_check,
            name=name,
            limit=limit,
            sample=sample,
            sample_seed=sample_seed,
            new=new,
            dedupe=dedupe,
            lenient=lenient,
        )
        if texts is not None and file.table is not None:
            check_not_read(file.table, texts, "--output-dir")
        if known:
            check_selection(file.selection)
            options = RunOptions(selection=file.selection, dedupe=dedupe or None).over(options)
        if output_dir is not None and file.table is not None and not known:
            check_named(file.table)
        found = await room.run(
            self._session(),
            str(what) if known else file,
            options,
            output=None if output is None else Path(output),
            timeout=timeout,
            webhook=address(webhook_url, webhook_port),
            style=TableStyle(details=details, spreadsheet=spreadsheet),
            finish_after=None if finish_via is None else AFTER if after is None else after,
        )
        if texts is not None:
            found.write_texts(texts, markdown=markdown)
        model = table.get("schema")
        return dataclasses.replace(found, _model=model) if isinstance(model, type) else found

    @takes_addresses(writes="output")
    async def retry(
        self,
        run_id: str,
        *,
        only: Sequence[str] = ("failed", "missing"),
        max_output_tokens: int | None = None,
        temperature: float | None = None,
        model: str | None = None,
        model_check: bool = True,
        output: str | os.PathLike[str] | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - it ends with the documented error, and cancels nothing
        max_usd: MaxUsd | Usd | None = None,
        details: bool = False,
        spreadsheet: bool = False,
    ) -> Results:
        """Resend the requests of a run whose verdict is one of ``only``. Costs money.

        ``max_output_tokens`` and ``temperature`` replace those of the requests, and ``model`` selects another model
        (``model_check`` as for :meth:`create`).
        Without a change, most answers that were cut off or blocked will be cut off or blocked again. A new answer
        replaces an earlier one that had not succeeded. ``max_usd``: a new limit for the run, which includes what it has
        cost so far; without it, the stored one holds. ``details``, ``spreadsheet``: as for :meth:`results`. Raises
        UsageError if there is nothing to resend, NotFinished (reason code ``timeout``) after ``timeout`` seconds,
        ServiceError, StateError.
        """
        from gemini_batch.commands import retry as room
        from gemini_batch.report.result_set import TableStyle

        again = room.selection(
            only, max_output_tokens=max_output_tokens, temperature=temperature, model=model, model_check=model_check
        )
        to, style = None if output is None else Path(output), TableStyle(details=details, spreadsheet=spreadsheet)
        session = self._session()
        return await room.retry(session, run_id, again, output=to, timeout=timeout, max_usd=max_usd, style=style)
