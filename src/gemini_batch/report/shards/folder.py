"""The folder of a run over shards: a file of results for each shard, and the manifest that counts them."""

from __future__ import annotations

import contextlib
import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from gemini_batch.errors import StateError, UsageError
from gemini_batch.jsonl import atomic_write, decode_as, read_lines, sha256_of, utf8_text
from gemini_batch.objects.lock import check_locks_here
from gemini_batch.objects.stores import listed
from gemini_batch.report.output_files import check_output, failures_file, write_failures
from gemini_batch.report.shards.answers import AnswerFile, ShardAnswers
from gemini_batch.store.sqlite import state_error
from gemini_batch.tables.extra import is_installed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from gemini_batch.objects.mirror import Mirror
    from gemini_batch.objects.stores import Seen
    from gemini_batch.report.result_set import Results
    from gemini_batch.store.ledger.records import Job, OutputFile, Run
    from gemini_batch.store.shard_manifest import Shard
    from gemini_batch.store.state_folder import StateFolder

#: The name of the manifest of answers in its folder.
MANIFEST = "manifest.jsonl"
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


def answers_in(manifest: Path) -> list[ShardAnswers]:
    """The lines of a manifest of answers. Raises OSError, ValueError."""
    with manifest.open("rb") as file:
        return [decode_as(line.data, ShardAnswers) for line in read_lines(file)]


class AnswersFolder:
    """The folder that results of shards are written to; with ``objects``, ``path`` stands in for a place in a bucket,
    and holds only what is just being written."""

    def __init__(self, path: Path, state: StateFolder, objects: Mirror | None = None) -> None:
        self.path, self._state, self._objects = path, state, objects
        #: What the manifest of answers in a bucket is known to be; None: there is none.
        self._seen: Seen | None = None
        #: The objects that were there at first, with their sizes.
        self._there: dict[str, int] = {}
        #: The lines of the manifest of answers, by run.
        self._lines: dict[str, ShardAnswers] = {}

    @property
    def manifest(self) -> Path:
        """The path of the manifest of answers."""
        return self.path / MANIFEST

    def open(self) -> None:
        """Read the manifest of answers, if there is one. Raises UsageError."""
        if self.path.exists() and not self.path.is_dir():
            raise UsageError(
                "This is a file, and the results of shards go into a folder.",
                file=self.path,
                field="--output",
                code="bad_output",
                next="Name a folder.",
            )
        if self._objects is not None:
            self._seen = self._objects.fetch_small(self.manifest)
            place = self._objects.address(self.path)
            self._there = {name.removeprefix(f"{place.name}/"): size for name, size in listed(place.root, place.name)}
        try:
            lines = answers_in(self.manifest)
        except FileNotFoundError:
            return
        except (OSError, ValueError) as error:
            raise UsageError(
                "This is not a manifest of answers, and one would replace it.",
                file=self.manifest,
                field="--output",
                code="bad_output",
                next="Choose another folder for the results.",
            ) from error
        self._lines = {line.run: line for line in lines}

    def make(self) -> None:
        """Create the folder, if it is missing. Raises UsageError."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(
                f"The folder for the results cannot be made: {error.strerror}.",
                file=self.path,
                field="--output",
                code="bad_output",
                next="Name a folder in a place that you can write to.",
            ) from error

    def files(self, shard: Shard, run: Run) -> list[Path]:
        """Where the results of a shard go. The name has the run, so no other run's results are replaced by them."""
        stem = _UNSAFE.sub("-", Path(shard.name).stem).strip("-.")[:80] or "shard"
        endings = (".jsonl", ".parquet") if is_installed("duckdb") else (".jsonl",)
        return [self.path / f"{stem}-{run.id.removeprefix('run-')}{ending}" for ending in endings]

    def check(self, shard: Shard, run: Run) -> None:
        """Refuse, before anything more is sent, to replace other files. Raises UsageError."""
        if not self.path.exists():
            return
        if self._objects is not None and not any(file.name in self._there for file in self.files(shard, run)):
            return
        with self._held(self.files(shard, run)) as files:
            for number, file in enumerate(files):
                check_output(self._state, file, failures=not number)

    @contextlib.contextmanager
    def _held(self, files: list[Path]) -> Iterator[list[Path]]:
        """Files of a shard, and the failures next to the first: those in a bucket are fetched, if they are there, and
        what is written is put there. Raises UsageError, StateError, ServiceError."""
        if self._objects is None:
            yield files
            return
        failed = failures_file(files[0])
        every = [*files, *([failed] if failed is not None else [])]
        try:
            for file in every:
                self._objects.fetch_to_write(self._objects.address(file))
            yield files
            check_locks_here()
            self._objects.put_all()
        finally:
            for file in every:
                self._objects.drop(file)

    def write(self, found: Results, shard: Shard, run: Run, jobs: Sequence[Job]) -> ShardAnswers:
        """Write the results of a finished shard, each file complete or not at all. Raises UsageError, StateError."""
        summary = found.summary
        if sum(summary.verdicts.values()) != shard.requests:
            raise StateError(
                f"There are results for {sum(summary.verdicts.values()):,} of {shard.requests:,} requests.",
                file=str(shard.place),
                code="results_lost",
            )
        answers = []
        for number, file in enumerate(self.files(shard, run)):
            with self._held([file]):  # one at a time: of those in a bucket, each is large, and gone from here then
                if self._objects is not None:
                    found.check(file)
                    file.unlink(missing_ok=True)  # it is a copy, which takes as much room as what is written
                found.write(file)
                if number == 0:
                    write_failures(self._state, run, jobs, file, any_failed=not summary.all_succeeded)
                answers.append(_described(file))
        return _line(shard, run, answers, summary.verdicts, summary.usd.batch)

    def finished(
        self,
        shard: Shard,
        run: Run,
        written: Sequence[OutputFile],
        verdicts: Callable[[], dict[str, int]],
        usd: float | None,
    ) -> ShardAnswers | None:
        """The line of a shard whose answers are only in this folder; None if they are not here.

        ``written``: all files with its results, newest first. Raises StateError, ServiceError.
        """
        if (line := self._lines.get(run.id)) is not None:  # it is of an earlier state if a process ended too soon
            here = [one for one in line.answers if self._is_here(one) and _age(one, written) is not None]
            if here and here[0] == line.answers[0]:
                return _line(shard, run, here, line.verdicts, line.usd)
        with self._held(self.files(shard, run)) as every:
            files = [_described(file) for file in every if file.is_file()]
            ages = [_age(file, written) for file in files]
            if not files or files[0].file != every[0].name or None in ages:
                return None
            # Beside result lines that retry wrote anew, a table is as it was before.
            current = [file for file, age in zip(files, ages, strict=True) if (age or 0) <= (ages[0] or 0)]
            return _line(shard, run, current, verdicts(), usd)

    def of_shard(self, sha256: str) -> ShardAnswers | None:
        """The line of a shard with this hash that the folder had when it was opened, of whatever run it is."""
        return next((line for line in self._lines.values() if line.sha256 == sha256), None)

    def _is_here(self, file: AnswerFile) -> bool:
        path = self.path / Path(file.file).name
        if self._objects is not None:
            return self._there.get(path.name) == file.bytes
        return path.is_file() and path.stat().st_size == file.bytes

    def put_manifest(self, lines: Sequence[ShardAnswers]) -> None:
        """Write the manifest of answers; lines of other runs that it had stay at its end. Raises StateError."""
        now = {line.run for line in lines}
        others = [line for run, line in self._lines.items() if run not in now]
        try:
            with atomic_write(self.manifest) as file:
                file.writelines(msgspec.json.encode(line) + b"\n" for line in [*lines, *others])
            if self._objects is not None:
                check_locks_here()  # the manifest may be another process's by now
                self._seen = self._objects.put_small(self.manifest, self._seen)
        except OSError as error:
            raise state_error(error, self.manifest, "manifest of answers") from error


def _age(file: AnswerFile, written: Sequence[OutputFile]) -> int | None:
    """How many files were written since; None if a file is not what was written last under its name.

    Of the same content in several places, only the last one is recorded.
    """
    for age, one in enumerate(written):
        if one.sha256 == file.sha256:
            return age
        if posixpath.basename(one.path) == file.file:
            return None
    return None


def _described(file: Path) -> AnswerFile:
    try:
        return AnswerFile(file=file.name, bytes=file.stat().st_size, sha256=sha256_of(file))
    except OSError as error:
        raise state_error(error, file, "results file") from error


def _line(
    shard: Shard, run: Run, answers: list[AnswerFile], verdicts: dict[str, int], usd: float | None
) -> ShardAnswers:
    return ShardAnswers(
        uri=utf8_text(shard.uri),
        sha256=shard.sha256,
        requests=shard.requests,
        verdicts=verdicts,
        run=run.id,
        usd=usd,
        answers=answers,
        method=run.method.value,
        model=run.model,
        backend=run.backend,
    )
