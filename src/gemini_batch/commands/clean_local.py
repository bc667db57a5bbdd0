"""``clean --local``: delete requests and answers of finished runs on this machine, to make room.

Verdicts, token counts and cost are always kept. Answers that a kept run uses stay, whichever run received them.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gemini_batch.commands.clean import Cleaned, Kept
from gemini_batch.errors import StateError
from gemini_batch.memory.freeing import borrowers, free, groups
from gemini_batch.memory.recall import open_index
from gemini_batch.report.job_view import run_facts
from gemini_batch.store.ledger.records import JobStage

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from gemini_batch.session import Session
    from gemini_batch.store.ledger.records import Job, Run
    from gemini_batch.store.rows.rows import Rows

#: Days after which a finished run is old enough, unless the user says otherwise.
OLDER_THAN = 90 * 86_400.0


def clean_local(
    session: Session, *, dry_run: bool, older_than: float | None = None, keep_results: bool = False
) -> Cleaned:
    """Delete what is not needed of runs that finished more than ``older_than`` seconds ago (90 days).

    ``keep_results``: delete only copies that no result needs. Otherwise the answers are forgotten: their rows would be
    sent and paid for again. Needs no key. Raises StateError.
    """
    before = session.world.now() - (OLDER_THAN if older_than is None else older_than)
    found = _Cleaning(session, before, dry_run=dry_run, keep_results=keep_results)
    if session.state_folder.exists():
        found.clean()
    return Cleaned(
        dry_run=dry_run,
        deleted=[],
        gone=[],
        kept=found.kept,
        bytes=0,
        not_created=[],
        forgotten=[],
        freed=found.freed,
        freed_bytes=found.size,
        forgotten_answers=found.forgotten,
        lent=found.lent,
    )


@dataclass(slots=True)
class _Cleaning:
    """What has been done so far, or in a dry run would have been."""

    session: Session
    before: float
    dry_run: bool
    keep_results: bool
    freed: list[str] = field(default_factory=list)
    kept: dict[str, str] = field(default_factory=dict)
    lent: list[Kept] = field(default_factory=list)
    size: int = 0
    forgotten: int = 0

    def clean(self) -> None:
        """Delete what can go."""
        ledger = self.session.ledger()
        old = [run.id for run in ledger.runs() if self._is_spare(run.id)]
        if self.keep_results:
            for run in old:
                self._delete([run])
            return
        freed = [run.id for run in ledger.runs() if run.freed_at is not None]
        users = borrowers(ledger)
        for group in groups({run: users.get(run, set()) for run in old}):
            self._delete(group)
        users = borrowers(ledger)
        for run in old:
            if run not in self.freed and run not in self.kept and (using := users.get(run, set()) - set(self.freed)):
                self.lent.append(Kept(run, sorted(using)))
        self._forget([run for run in self.freed if run not in freed], freed)

    def _is_spare(self, run_id: str) -> bool:
        try:
            return bool(self._spare(run_id))
        except StateError as error:  # damaged, or of an earlier version that is in use
            self.kept[run_id] = error.message
            return False

    def _spare(self, run_id: str) -> list[Path]:
        """What can be deleted of a run; nothing if it is too new or has not finished."""
        run, jobs = self._run(run_id), self.session.ledger().jobs_of(run_id)
        folder = self.session.state_folder.run(run_id)
        ended = max((job.collected_at or 0.0 for job in jobs), default=run.created_at)
        if ended > self.before or any(job.stage is not JobStage.COLLECTED for job in jobs):
            return []
        if run.forgotten_at is not None or not folder.path.is_dir():
            return []
        if run.freed_at is None:  # else a process ended while it deleted the files
            facts = run_facts(self.session, run)
            if facts.waiting or (not jobs and not facts.answered):
                return []
        return folder.spare(needed={job.part for job in jobs if job.part} if self.keep_results else None)

    def _delete(self, group: Sequence[str]) -> None:
        """Note it in the ledger, then delete the files of these runs, unless they are in use."""
        with contextlib.ExitStack() as held:
            for run in group:
                try:
                    held.enter_context(self.session.state_folder.run(run).lock(wait=0.0))
                except StateError as error:
                    if error.reason_code != "locked":
                        raise
                    self.kept[run] = error.message
                    return
            # Only now is it certain: another process may have continued a run, or freed it.
            files = {run: self._spare(run) for run in group}
            if not all(files.values()):
                return
            users = borrowers(self.session.ledger())
            if not self.keep_results and any(users.get(run, set()) - {*group, *self.freed} for run in group):
                return
            sizes = {run: sum(path.stat().st_size for path in files[run]) for run in group}
            if not self.dry_run:
                if not self.keep_results and not free(self.session.ledger(), group, at=self.session.world.now()):
                    return
                for run, paths in files.items():
                    self.session.state_folder.run(run).delete(paths)
            self.freed += group
            self.size += sum(sizes.values())

    def _forget(self, now: Sequence[str], earlier: Sequence[str]) -> None:
        """Count the rows that no run remembers any more, and remove them from the index.

        A row with a newer answer in another run is not among them, nor one with an older answer in a run that is kept.
        """
        state_folder, unknown = self.session.state_folder, set(now)
        if state_folder.memory.exists():
            with open_index(state_folder) as index:
                known = index.jobs()
                unknown = {run for run in now if not self._is_in(known, run)}
                if not self.dry_run:
                    index.forget_runs([*earlier, *unknown])
                counted = [run for run in now if run not in unknown]
                self.forgotten += index.forget_runs(counted, self._held(), dry_run=self.dry_run)
        for run in unknown:  # nothing was sent since they were collected
            with state_folder.run(run).rows() as rows:
                self.forgotten += rows.succeeded_here() if self._jobs(run) else 0

    def _held(self) -> Iterator[tuple[str, Rows, int]]:
        """The old jobs of runs that are kept, newest first, with their open rows: they can hold older answers."""
        freed = set(self.freed)
        for run in self.session.ledger().runs():
            folder = self.session.state_folder.run(run.id)
            if run.freed_at is not None or run.id in freed or not folder.row_database.exists():
                continue
            jobs = [job for job in reversed(self._jobs(run.id)) if job.model == run.model]
            if jobs := [job for job in jobs if job.collected_at is not None and job.collected_at <= self.before]:
                with contextlib.suppress(StateError), folder.rows() as rows:
                    for job in jobs:
                        yield run.id, rows, job.ordinal

    def _is_in(self, known: Mapping[str, float | None], run: str) -> bool:
        """Whether all answers of a run are in the index, as they were collected last."""
        return all(known.get(job.id, ...) == job.collected_at for job in self._jobs(run))

    def _run(self, run_id: str) -> Run:
        found = self.session.ledger().run(run_id)
        assert found is not None
        return found

    def _jobs(self, run: str) -> list[Job]:
        """The jobs of a run whose answers are remembered: those whose requests are known."""
        return [job for job in self.session.ledger().jobs_of(run) if job.sha256 is not None]
