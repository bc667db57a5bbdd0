"""The state folder and the run folders in it: where everything is, and the lock of a run."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from gemini_batch.errors import StateError
from gemini_batch.jsonl import private_folder
from gemini_batch.store.ledger.ledger import Ledger
from gemini_batch.store.rows.rows import Rows
from gemini_batch.store.shard_file import ShardFile, keep_shard, kept_shard
from gemini_batch.store.sqlite import state_error

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from gemini_batch.store.ledger.records import OutputFile


#: Seconds after which an empty, unlocked staging folder counts as left behind by a killed process.
_STALE = 60.0
_OFFLINE = "offline"
#: The resolved paths of the run folders that this process has locked.
_HELD: set[Path] = set()


@dataclass(frozen=True, slots=True)
class StateFolder:
    """One state folder: a ledger, run folders and, in the offline one, the emulator's data."""

    path: Path

    @property
    def ledger_path(self) -> Path:
        """The path of the ledger, whether or not it exists."""
        return self.path / "ledger.db"

    @property
    def emulator(self) -> Path:
        """The data folder of the emulator that serves this state folder."""
        return self.path / "emulator"

    def size(self) -> int:
        """Bytes that the folder takes, that for offline work included."""
        return _size(self.path)

    @property
    def memory(self) -> Path:
        """The path of the index of answered rows (:mod:`gemini_batch.memory`), whether or not it exists."""
        return self.path / "memory.db"

    @property
    def offline(self) -> StateFolder:
        """The state folder inside this one for offline work."""
        return StateFolder(self.path / _OFFLINE)

    def output(self, sha256: str, path: str) -> OutputFile | None:
        """The file with this content that was written for the user, online or offline, else one written to ``path``.

        Raises StateError.
        """
        other = StateFolder(self.path.parent) if self.path.name == _OFFLINE else self.offline
        found = self.own_output(sha256, path)
        if found is None or found.sha256 != sha256:
            with contextlib.suppress(StateError):  # the other folder's trouble is not this command's
                theirs = other.own_output(sha256, path)
                if found is None or (theirs is not None and theirs.sha256 == sha256):
                    found = theirs
        return found

    def own_output(self, sha256: str, path: str) -> OutputFile | None:
        """The same, if this folder has recorded it."""
        if not self.exists():
            return None
        with self.ledger() as ledger:
            return ledger.output(sha256, path)

    def exists(self) -> bool:
        """Whether anything was ever written to this folder."""
        return self.ledger_path.exists()

    def ledger(self) -> Ledger:
        """Open the ledger and create the state folder if it does not exist. Raises StateError."""
        try:
            private_folder(self.path)
        except OSError as error:
            raise state_error(error, self.path, "state folder") from error
        return Ledger(self.ledger_path, alone=self._no_run_in_use)

    @contextlib.contextmanager
    def _no_run_in_use(self) -> Iterator[None]:
        """Make sure that no other process is working on a run. Raises StateError if one is.

        The caller is in a write transaction of the ledger: a process that takes a lock after this cannot write before
        the transaction ends, and an earlier version then fails before it sends anything. So it is enough to take the
        locks one after another; a folder may hold more runs than a process may open files.
        """
        for path in sorted((self.path / "runs").glob("run-*")):
            if path.is_dir():
                with RunFolder(path).not_in_use():
                    pass
        yield

    def shards(self) -> contextlib.AbstractContextManager[None]:
        """The lock of all work on shards: manifests may name the same ones. Raises StateError if it is held."""
        return _locked(self.path / "shards.lock", self.path, wait=0.0, said="shards", what="state folder")

    @property
    def at_hand(self) -> Path:
        """The results of shards on their way to a bucket, or fetched from there.

        Who holds :meth:`shards` may remove all that is there: it was left behind.
        """
        return self.path / "objects" / "at-hand"

    @contextlib.contextmanager
    def place_in_bucket(self, address: str) -> Iterator[Path]:
        """The lock, within this state folder, of all work on a place in a bucket; gives a file for what is to be known
        of it later. Raises StateError if it is held."""
        folder = self.path / "objects"
        try:
            private_folder(folder)
        except OSError as error:
            raise state_error(error, folder, "state folder") from error
        stem = hashlib.sha256(address.encode()).hexdigest()[:16]
        with _locked(folder / f"{stem}.lock", self.path, wait=0.0, said="these results", what="state folder"):
            yield folder / stem

    def run(self, run_id: str) -> RunFolder:
        """The folder of a run. ``run_id`` was created by this program."""
        return RunFolder(self.path / "runs" / run_id)

    @contextlib.contextmanager
    def staging(self, token: str) -> Iterator[RunFolder]:
        """A new folder to prepare a run in; it is removed afterwards unless it was moved into place.

        Staging folders that killed processes left behind are removed first.
        """
        runs = self.path / "runs"
        folder = RunFolder(runs / f".new-{token}")
        try:
            private_folder(runs)
            folder.path.mkdir(mode=0o700)
        except OSError as error:
            raise state_error(error, folder.path, "run folder") from error
        try:
            with folder.lock(wait=0.0):
                self._sweep(runs, folder)
                yield folder
        finally:
            shutil.rmtree(folder.path, ignore_errors=True)

    def _sweep(self, runs: Path, ours: RunFolder) -> None:
        """Remove abandoned staging folders, except recent empty ones: another process may not have locked its own yet.

        What is in one was written under its lock.
        """
        now = ours.path.stat().st_mtime
        for path in runs.glob(".new-*"):
            with contextlib.suppress(StateError, OSError):
                used = any(inside.name != "lock" for inside in path.iterdir())
                if path != ours.path and (used or path.stat().st_mtime < now - _STALE):
                    with RunFolder(path).lock(wait=0.0):
                        shutil.rmtree(path, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The folder of one run; docs/ledger.md lists its contents."""

    path: Path

    @property
    def requests(self) -> Path:
        """The canonical requests: UTF-8, ``\\n``, no BOM, no blank lines; never changed once written.

        Of a shard, the user's own file; one that is an object has no file. Read them with :meth:`open_requests`.
        """
        shard = self.shard
        return (None if shard is None else shard.file) or self.path / "requests.jsonl"

    @property
    def shard(self) -> ShardFile | None:
        """The user's file that holds the requests; None if the run has a copy of its own. Raises StateError."""
        return kept_shard(self.path / "shard.json")

    def refer_to(self, shard: ShardFile) -> None:
        """Leave the requests where they are. Raises OSError."""
        keep_shard(self.path / "shard.json", shard)

    def open_requests(self) -> IO[bytes]:
        """Open the canonical requests. Raises OSError; StateError for a shard that was changed."""
        shard = self.shard
        return (self.path / "requests.jsonl").open("rb") if shard is None else shard.open()

    def input(self, part: str | None) -> Path:
        """The file with a job's requests: a separate part, or the run's file. Part names are this program's own."""
        return self.requests if part is None else self.path / "parts" / part

    def has_input(self, part: str | None) -> bool:
        """Whether the requests of a job can be read; those in a bucket are taken to be there."""
        return self.in_bucket(part) or self.input(part).exists()

    def in_bucket(self, part: str | None) -> bool:
        """Whether the requests of a job are read from a bucket: it carries those of a shard that is an object."""
        shard = self.shard if part is None else None
        return shard is not None and shard.file is None

    def open_input(self, part: str | None) -> IO[bytes]:
        """Open the file with a job's requests. Raises as :meth:`open_requests`."""
        return self.open_requests() if part is None else self.input(part).open("rb")

    @property
    def attachments(self) -> Path:
        """The files to upload that the requests name by placeholders, one line each; absent if there are none."""
        return self.path / "attachments.jsonl"

    @property
    def manifest(self) -> Path:
        """Provenance: hashes, settings, job names, counts, tokens."""
        return self.path / "manifest.json"

    @property
    def row_database(self) -> Path:
        """The path of ``rows.db``, whether or not it exists."""
        return self.path / "rows.db"

    def rows(self, *, new: bool = False) -> Rows:
        """Open ``rows.db``, or create it if the run is ``new``, or adopted. Raises StateError."""
        self._check_there()
        if not new and self.has_input(None) and not self.row_database.exists():
            raise _gone("The row database of the run is missing, and with it what is known of its requests.", self.path)
        return Rows(self.row_database, alone=self.not_in_use)

    def _check_there(self) -> None:
        """A file that is opened would be made with the folder, which then looks like one that holds a run."""
        if not self.path.is_dir():
            raise _gone("The run folder is gone, and with it the requests and answers kept there.", self.path)

    def answers(self, name: str) -> Path:
        """The path of a raw file that ``rows.db`` names: in this folder, or (``run-…/NAME``) in that of another run."""
        run, _, file = name.rpartition("/")
        return (self.path.parent / run if run else self.path) / "raw" / file

    def size(self) -> int:
        """Bytes that the folder takes."""
        return _size(self.path)

    def spare(self, *, needed: Collection[str] | None) -> list[Path]:
        """What can be deleted of a finished run: all but its verdicts, counts and provenance.

        ``needed``: the names of the parts that its jobs refer to. With them, only what no result, retry or other run
        needs: inputs of jobs that were not created, and damaged or older copies.
        """
        raw = "*" if needed is None else "*.damaged-*"
        found = [*self.path.glob("parts/*"), *self.path.glob(f"raw/{raw}"), *self.path.glob("rows.v*.db")]
        if needed is None:
            found += [self.path / "requests.jsonl", self.attachments]
        return sorted(path for path in found if path.is_file() and path.name not in (needed or ()))

    def delete(self, files: Iterable[Path]) -> None:
        """Delete files of the folder; what is gone already does not matter. Raises StateError."""
        for path in files:
            _unlink(path)

    @contextlib.contextmanager
    def not_in_use(self) -> Iterator[None]:
        """Lock the run while a database is migrated, because another process may be of an earlier version.

        A lock that this process already holds is enough. Raises StateError if another process holds it.
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
                    "The state folder was written by an earlier gemini-batch and must be migrated, but another process "
                    "is still working on this run.",
                    file=self.path,
                    code="locked",
                    next="Wait for that process to finish, or stop it with Ctrl-C (its jobs continue); then run the "
                    "same command again.",
                ) from None
            yield

    @property
    def has_answers(self) -> bool:
        """Whether answers are here, if only a part of them."""
        return next(self.path.glob("raw/*"), None) is not None

    def raw(self, job_id: str) -> Path:
        """The path of a job's raw answers; this program chooses job ids."""
        return self.path / "raw" / f"{job_id}.jsonl"

    @contextlib.contextmanager
    def lock(self, *, wait: float) -> Iterator[None]:
        """Hold the run's lock; the operating system releases it when the process ends, however it ends.

        Raises StateError if another process holds it for ``wait`` seconds, or if the folder is gone.
        """
        self._check_there()
        with _locked(self.path / "lock", self.path, wait=wait):
            ours = self.path.resolve()
            _HELD.add(ours)
            try:
                yield
            finally:
                _HELD.discard(ours)


def _unlink(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise state_error(error, path, "run folder") from error


@contextlib.contextmanager
def _locked(
    path: Path, place: Path, *, wait: float, said: str = "this run", what: str = "run folder"
) -> Iterator[None]:
    import filelock

    lock = filelock.FileLock(path, timeout=wait, mode=0o600)
    try:
        lock.acquire(poll_interval=0.05)
    except filelock.Timeout:
        raise StateError(
            f"Another process is working on {said}.",
            file=place,
            code="locked",
            next="Wait for it to finish, or stop it, and run the same command again.",
        ) from None
    except OSError as error:
        raise state_error(error, place, what) from error
    try:
        yield
    finally:
        lock.release()


def _size(path: Path) -> int:
    """Bytes of all files in a folder; what goes meanwhile does not count."""
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            with contextlib.suppress(OSError):
                total += (Path(folder) / name).stat().st_size
    return total


def _gone(what: str, folder: Path) -> StateError:
    return StateError(
        what,
        file=folder,
        code="run_folder_gone",
        next="Restore the folder. Answers that the service still has can be fetched by the job's name with another "
        "GEMINI_BATCH_HOME. To start over, use create --new or run --new; this costs money again.",
    )
