"""The home folder and the run folders in it: who lives where, and the lock of a run."""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gemini_batch.errors import StateError
from gemini_batch.store.ledger import Ledger
from gemini_batch.store.rows import Rows
from gemini_batch.store.sqlite import state_error

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


#: Seconds after which a staging folder that nobody has locked was left behind by a killed process.
_STALE = 60.0
#: The run folders, resolved, whose locks this process holds.
_HELD: set[Path] = set()


@dataclass(frozen=True, slots=True)
class StateFolder:
    """One home: a ledger, run folders and, for the offline one, the emulator's data."""

    path: Path

    @property
    def ledger_path(self) -> Path:
        """Where the ledger is, or would be."""
        return self.path / "ledger.db"

    @property
    def emulator(self) -> Path:
        """The data folder of the emulator that serves this home."""
        return self.path / "emulator"

    @property
    def offline(self) -> StateFolder:
        """The home inside this one that only offline work uses."""
        return StateFolder(self.path / "offline")

    def exists(self) -> bool:
        """Whether anything was ever written here."""
        return self.ledger_path.exists()

    def ledger(self) -> Ledger:
        """Open the ledger, making the home if need be. Raises StateError."""
        try:
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise state_error(error, self.path, "home folder") from error
        return Ledger(self.ledger_path, alone=self._no_run_in_use)

    @contextlib.contextmanager
    def _no_run_in_use(self) -> Iterator[None]:
        """Make sure that no other process works on a run. Raises StateError where one does.

        The caller is in a write transaction of the ledger: a process that takes a lock after this writes nothing before
        the transaction ends, and an earlier version fails then, before it sends anything. So the locks are taken one
        after the other; a folder may hold more runs than a process may open files.
        """
        for path in sorted((self.path / "runs").glob("run-*")):
            if path.is_dir():
                with RunFolder(path).not_in_use():
                    pass
        yield

    def run(self, run_id: str) -> RunFolder:
        """The folder of a run. ``run_id`` is one that this program made."""
        return RunFolder(self.path / "runs" / run_id)

    @contextlib.contextmanager
    def staging(self, token: str) -> Iterator[RunFolder]:
        """A new folder to prepare a run in; it is gone afterwards unless it was moved to its place.

        Staging folders that a killed process left behind are swept first.
        """
        runs = self.path / "runs"
        folder = RunFolder(runs / f".new-{token}")
        try:
            folder.path.mkdir(parents=True, mode=0o700)
        except OSError as error:
            raise state_error(error, folder.path, "run folder") from error
        try:
            with folder.lock(wait=0.0):
                self._sweep(runs, folder)
                yield folder
        finally:
            shutil.rmtree(folder.path, ignore_errors=True)

    def _sweep(self, runs: Path, ours: RunFolder) -> None:
        """Young folders are left alone: one that is not locked yet may be another process's that just begins."""
        now = ours.path.stat().st_mtime
        for path in runs.glob(".new-*"):
            with contextlib.suppress(StateError, OSError):
                if path != ours.path and path.stat().st_mtime < now - _STALE:
                    with RunFolder(path).lock(wait=0.0):
                        shutil.rmtree(path, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The folder of one run; docs/ledger.md lists what is in it."""

    path: Path

    @property
    def requests(self) -> Path:
        """The canonical requests: UTF-8, ``\\n``, no BOM, no blank lines; never changed once written."""
        return self.path / "requests.jsonl"

    def input(self, part: str | None) -> Path:
        """The file that a job's requests are in: a part of its own, or the run's. Names of parts are our own."""
        return self.requests if part is None else self.path / "parts" / part

    @property
    def manifest(self) -> Path:
        """Provenance: hashes, settings, job names, counts, tokens."""
        return self.path / "manifest.json"

    @property
    def row_database(self) -> Path:
        """Where ``rows.db`` is, or would be."""
        return self.path / "rows.db"

    def rows(self) -> Rows:
        """Open ``rows.db``. Raises StateError."""
        return Rows(self.row_database, alone=self.not_in_use)

    @contextlib.contextmanager
    def not_in_use(self) -> Iterator[None]:
        """Keep other processes, which may be of an earlier version, away from the run while a database is migrated.

        A lock that this process holds itself is held by this version. Raises StateError if another process has it.
        """
        if self.path.resolve() in _HELD:
            yield
            return
        with contextlib.ExitStack() as held:
            try:
                held.enter_context(self.lock(wait=0.0))
            except StateError as error:
                if error.reason_code != "locked":
                    raise
                raise StateError(
                    "The state folder was written by an earlier gemini-batch and must be migrated first, and another "
                    "process is still working on this run.",
                    file=self.path,
                    code="locked",
                    next="Wait for that process to finish, or stop it with Ctrl-C (its jobs go on); then run the same "
                    "command again.",
                ) from None
            yield

    def raw(self, job_id: str) -> Path:
        """Where the raw answers of a job are kept; job ids are our own."""
        return self.path / "raw" / f"{job_id}.jsonl"

    @contextlib.contextmanager
    def lock(self, *, wait: float) -> Iterator[None]:
        """Hold the run's lock; the system frees it when the process ends, however it ends.

        Raises StateError if another process holds it for ``wait`` seconds, or if the folder is gone.
        """
        import filelock

        if not self.path.is_dir():  # the lock's file would be made with the folder, which then looks like one that is
            raise StateError(
                "The run folder is gone, and with it the requests and answers kept there.",
                file=self.path,
                code="run_folder_gone",
                next="Restore the folder; or enter the requests anew with create --new or run --new.",
            )
        lock = filelock.FileLock(self.path / "lock", timeout=wait)
        try:
            lock.acquire(poll_interval=0.05)
        except filelock.Timeout:
            raise StateError(
                "Another process is working on this run.",
                file=self.path,
                code="locked",
                next="Wait for it to finish, or stop it, and run the same command again.",
            ) from None
        except OSError as error:
            raise state_error(error, self.path, "run folder") from error
        ours = self.path.resolve()
        _HELD.add(ours)
        try:
            yield
        finally:
            _HELD.discard(ours)
            lock.release()
