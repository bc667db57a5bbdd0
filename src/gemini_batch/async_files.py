"""The verbs that only read what is on this machine; they are part of :class:`gemini_batch.AsyncGeminiBatch`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from gemini_batch.async_base import AsyncBase, takes_addresses
from gemini_batch.settings import would_be_offline

if TYPE_CHECKING:
    import datetime as dt
    import os
    from collections.abc import Iterable, Sequence
    from typing import Literal, Unpack

    from gemini_batch.commands.estimate import Estimate
    from gemini_batch.commands.prepare import PreparedFile
    from gemini_batch.commands.show import Shown
    from gemini_batch.commands.validate import Validated
    from gemini_batch.intake.table_options import ArrowStream, TableOptions
    from gemini_batch.report.spending.sums import By, SpendReport


class AsyncFiles(AsyncBase):
    """Checks and makes request files, foresees what they cost, and shows what was answered and spent."""

    @takes_addresses(reads="input_file", writes="fix", keeps=False)
    async def validate(
        self,
        input_file: str | os.PathLike[str],
        *,
        model: str | None = None,
        model_check: bool = True,
        limit: int | None = None,
        lenient: bool = False,
        fix: str | os.PathLike[str] | None = None,
        key_from: str | None = None,
        key_duplicates: Literal["error", "number", "first"] = "error",
        force: bool = False,
    ) -> Validated:
        """Check a request file without sending it: no key, no network, nothing stored.

        ``model``: check the rules of this model, too. ``model_check``, ``lenient``: as for :meth:`create`. The problems
        of the lines are returned.

        ``fix``: write a corrected copy to this path, complete or not at all, and check the copy. Lines without a key
        take it from the dotted path ``key_from``; without it, they are numbered. ``key_duplicates``: what to do with a
        line that repeats a key: report it (``error``), number its key (``number``), or leave the line out (``first``).
        ``force``: replace a file that has other content.

        Raises UsageError if the file is not a request file, and with ``fix`` if the copy would replace another file;
        StateError if the copy cannot be written.
        """
        from gemini_batch.commands import validate as room

        return await room.validate(
            Path(input_file),
            model=model,
            model_check=model_check,
            limit=limit,
            lenient=lenient,
            fix=None if fix is None else Path(fix),
            key_from=key_from,
            key_duplicates=key_duplicates,
            force=force,
            offline=would_be_offline(self._settings, self._offline),
            emit=self._on_event,
        )

    @takes_addresses(reads="what")
    async def estimate(
        self,
        what: str | os.PathLike[str] | Iterable[object] | ArrowStream | None = None,
        *,
        model: str | None = None,
        model_check: bool = True,
        limit: int | None = None,
        sample: int | None = None,
        sample_seed: int = 0,
        new: bool = False,
        dedupe: bool = False,
        lenient: bool = False,
        max_requests_per_job: int | None = None,
        max_tokens_per_job: int | None = None,
        tier: int | None = None,
        count: int | None = None,
        **table: Unpack[TableOptions],
    ) -> Estimate:
        """What a run of an input, or the rest of a run (``run-…``), would send, and what it would cost: no key, no
        network, nothing sent, nothing stored.

        The arguments are those of ``run``; ``new``: count everything, whatever was answered before. ``tier``: also say
        how many tokens it allows in the queue. ``count``: let the service count the tokens of so many prompts, which
        needs a key and costs nothing. Raises UsageError (InvalidInput with every problem of the file), StateError.
        """
        from gemini_batch.commands import estimate as room
        from gemini_batch.intake.table_options import names_run, refuse_table, submission
        from gemini_batch.store.ledger.run_options import RunOptions

        options = RunOptions.of(
            max_requests_per_job=max_requests_per_job, max_tokens_per_job=max_tokens_per_job, tier=tier
        )
        if names_run(what):
            refuse_table(str(what), table)
            return await room.estimate(self._session(), str(what), options or RunOptions(), count=count)
        file = submission(
            what,
            table,
            model=model,
            model_check=model_check,
            limit=limit,
            sample=sample,
            sample_seed=sample_seed,
            new=new,
            dedupe=dedupe,
            lenient=lenient,
        )
        chosen = file.options.over(options or RunOptions())
        return await room.estimate(self._session(), file, chosen, count=count)

    @takes_addresses(reads="input_file", writes="output", keeps=False)
    async def prepare(
        self,
        input_file: str | os.PathLike[str] | Iterable[object] | ArrowStream | None = None,
        *,
        output: str | os.PathLike[str],
        model: str | None = None,
        lenient: bool = False,
        force: bool = False,
        **table: Unpack[TableOptions],
    ) -> PreparedFile:
        """Write the requests of a table to ``output`` without sending them: no key, no network, nothing stored.

        ``model``: check the rules of this model, too. ``force``: replace a file with other content. Raises UsageError,
        StateError.
        """
        from gemini_batch.commands import prepare as room
        from gemini_batch.intake.table_options import needed_table

        return await room.prepare(
            needed_table(input_file, table),
            Path(output),
            model=model,
            lenient=lenient,
            force=force,
            offline=would_be_offline(self._settings, self._offline),
            emit=self._on_event,
        )

    async def show(
        self,
        run_id: str,
        keys: Sequence[str] | None = None,
        *,
        verdict: Sequence[str] | None = None,
        grep: str | None = None,
        sample: int | None = None,
        sample_seed: int = 0,
        limit: int | None = None,
    ) -> Shown:
        """The rows of a run, named by its id or by any of its jobs, each with its prompt and its answer as text.

        Iterate over them; they are read one by one. ``keys``: only these rows. ``verdict``: only rows whose final
        verdict is one of these. ``grep``: only rows with this text in the key, the prompt or the answer, in any case.
        ``sample``: of the rows that are left, so many at random, the same ones for the same ``sample_seed``. ``limit``:
        at most so many.

        Only what is held on this machine is read: no key, no network. Rows that were not sent, or whose job is alive,
        are among them; ``place`` says where each is. Raises UsageError, also for an unknown key, NotFinished if nothing
        of the requests is known yet, StateError.
        """
        from gemini_batch.commands import show as room

        wanted = room.row_selection(
            keys, verdict=verdict, grep=grep, sample=sample, sample_seed=sample_seed, limit=limit
        )
        return await room.show(self._session(), run_id, wanted)

    @takes_addresses(writes="output", keeps=False)
    async def spend_report(
        self,
        run_id: str | None = None,
        *,
        since: int | dt.date | None = None,
        by: By = "day",
        output: str | os.PathLike[str] | None = None,
    ) -> SpendReport:
        """What the jobs of this state folder used and cost, or those of a run, named by its id or one of its jobs.

        Only what is held on this machine is read: no key, no network. ``since``: only jobs created in that many last
        days, of which today is one, or since that day (UTC). ``by``: what the groups are, ``day``, ``model`` or
        ``run``. ``output``: also write it there, as a page with charts (``.html``) or a table (``.csv``). A run that
        cannot be read is in ``unread``; the amounts leave it out. The command is ``report``.

        Raises UsageError, also for a file that is no report and would be replaced, StateError.
        """
        from gemini_batch.commands import report as room

        return await room.report(
            self._session(), run_id, since=since, by=by, output=None if output is None else Path(output)
        )
