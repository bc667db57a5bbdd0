"""Reads one job of a run with several: which requests it carried and which answers it gave."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import msgspec

from gemini_batch.errors import StateError
from gemini_batch.jsonl import read_lines
from gemini_batch.store.ledger.records import JobStage
from gemini_batch.store.sqlite import state_error

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from gemini_batch.store.ledger.records import Job
    from gemini_batch.store.rows.rows import Rows
    from gemini_batch.store.state_folder import RunFolder


class _Line(msgspec.Struct):
    key: str


@contextlib.contextmanager
def open_rows(folder: RunFolder, jobs: Sequence[Job], *, only: Job | None = None) -> Iterator[Rows]:
    """The requests of a run that were sent, with their answers; ``jobs`` holds all jobs of the run.

    With ``only``, as if that job were the only one. Raises StateError.
    """
    with folder.rows() as rows:
        if only is not None and only.sha256 is not None:  # an adopted job carried nothing from here: it is all there is
            rows.narrow(only.ordinal, offset=only.offset, size=only.bytes, keys=_keys(folder, only.part))
        elif only is None:
            rows.hide_unsent(sent_ordinals(jobs))
        yield rows


def take_back(folder: RunFolder, rows: Rows, job: Job) -> int:
    """Put requests of a created job that wait to be resent in that job again; returns how many. Raises StateError."""
    if job.sha256 is None:
        return 0
    return rows.take_back(job.ordinal, offset=job.offset, size=job.bytes, keys=_keys(folder, job.part))


def sent_ordinals(jobs: Sequence[Job]) -> list[int]:
    """The ordinals of the jobs that were created, or may have been."""
    return [job.ordinal for job in jobs if job.stage.made or job.stage is JobStage.INTENDED]


def without_limit(folder: RunFolder, job: Job, answers: Iterable[tuple[int, str, int, int]]) -> Iterator[int]:
    """Those of the answers whose requests, as the job sent them, set no ``maxOutputTokens``; see :func:`limits_set`."""
    return (answer for answer, limit in limits_set(folder, job, answers) if limit is None)


def limits_set(
    folder: RunFolder, job: Job, answers: Iterable[tuple[int, str, int, int]]
) -> Iterator[tuple[int, int | None]]:
    """Each of the answers with the ``maxOutputTokens`` of its request, as the job sent it; 0 for an odd value.

    ``answers`` holds ``(answer, key, offset, length)`` in the order of the requests. Nothing is said of requests that
    cannot be read any more.
    """
    try:
        opened = folder.open_input(job.part)
    except FileNotFoundError:
        return
    except StateError as error:
        if error.reason_code != "shard_changed":
            raise
        return
    with opened as file:
        lines = read_lines(file)
        at, data = "", b""
        for answer, key, offset, length in answers:
            if job.part is None:
                file.seek(offset)
                data = file.read(length)
            else:
                while at != key and (line := next(lines, None)) is not None:
                    data = line.data
                    at = msgspec.json.decode(data, type=_Line).key
            yield answer, _limit(data)


def _limit(line: bytes) -> int | None:
    try:
        request = msgspec.json.decode(line)["request"]
        config = request.get("generationConfig") or request.get("generation_config") or {}
        names = ("maxOutputTokens", "max_output_tokens")
        stated = next((config[name] for name in names if config.get(name) is not None), None)
        return None if stated is None else int(stated)
    except (msgspec.DecodeError, KeyError, AttributeError, TypeError, ValueError, OverflowError):
        return 0  # it is not known


def _keys(folder: RunFolder, part: str | None) -> Iterator[str] | None:
    """The keys in a job's separate input file; None for a job that carried a range of the requests file."""
    return None if part is None else _keys_in(folder.input(part))


def _keys_in(path: Path) -> Iterator[str]:
    """The keys in an input file, which was written when its job was planned."""
    try:
        with path.open("rb") as file:
            for line in read_lines(file):
                yield msgspec.json.decode(line.data, type=_Line).key
    except OSError as error:
        raise state_error(error, path, "job's input file") from error
    except msgspec.DecodeError as error:
        raise StateError(f"The job's input file was changed: {error}.", file=path) from error
