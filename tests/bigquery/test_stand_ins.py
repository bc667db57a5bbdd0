"""What stands in for a table that is written, with a BigQuery whose load jobs end when a test says so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import msgspec
import pytest

from gemini_batch.errors import StateError
from gemini_batch.jsonl import sha256_of
from gemini_batch.objects import names
from gemini_batch.objects.bigquery.policy import JobSeen, TableAddress, TableSeen
from gemini_batch.objects.bigquery.stand_ins import StandIns

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gemini_batch.objects.bigquery.service import BigQuery

ADDRESS = TableAddress("my-project", "shop", "answers")
AT = 1_790_000_000_000


class SlowBigQuery:
    """One table. ``interrupted``: whether the process ends while it waits for a job."""

    def __init__(self) -> None:
        self.table: TableSeen | None = None
        self.content: bytes | None = None
        self.interrupted = False
        self._jobs: dict[str, tuple[JobSeen, bytes, bool]] = {}
        self._now = AT

    def look(self, _: TableAddress) -> TableSeen | None:
        return self.table

    def location(self, _: TableAddress) -> str:
        return "EU"

    def job(self, _: TableAddress, name: str, __: str | None) -> JobSeen | None:
        return self._jobs[name][0] if name in self._jobs else None

    def load(self, _: TableAddress, path: Path, name: str, __: str | None, *, replace: bool) -> None:
        self._now += 1000
        self._jobs[name] = JobSeen(done=False, error="", begun=self._now, ended=0, rows=0), path.read_bytes(), replace

    def wait(self, _: TableAddress, name: str, __: str | None) -> JobSeen:
        if self.interrupted:
            raise KeyboardInterrupt
        self.finish()
        return self._jobs[name][0]

    def finish(self) -> None:
        """All jobs end, in the order in which they were started."""
        for name, (job, content, replace) in self._jobs.items():
            if job.done:
                continue
            self._now += 60_000
            error = "" if replace or self.table is None else "Already Exists"
            done = msgspec.structs.replace(job, done=True, error=error, ended=self._now, rows=len(content))
            self._jobs[name] = done, content, replace
            if not error:
                created = self._now if self.table is None else self.table.created
                self.content = content
                self.table = TableSeen(
                    created=created,
                    modified=self._now,
                    rows=len(content),
                    kind="TABLE",
                    streaming=False,
                    columns=2,
                    location="EU",
                )

    def change(self) -> None:
        """Somebody else writes the table."""
        assert self.table is not None
        self._now += 1000
        self.table, self.content = msgspec.structs.replace(self.table, modified=self._now), b"theirs"


def write(service: SlowBigQuery, folder: Path, content: bytes, meanwhile: Callable[[], Any] = lambda: None) -> bool:
    """A command with the table as its output; whether what was there is known to be ours. Its results are new."""
    files = StandIns(folder / "files", cast("BigQuery", service), lambda: AT / 1000)
    try:
        path = files.fetch_to_write(ADDRESS, folder / "note")
        before = sha256_of(path) if path.exists() else None
        ours = before is None or names.content(before) != before
        meanwhile()
        if ours:
            path.write_bytes(content)
            files.put_all(lambda *_: None)
    finally:
        files.close()
    return ours


@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize("late", [False, True])
def test_a_load_that_was_interrupted_is_waited_for(tmp_path: Path, there: bool, late: bool) -> None:
    service = SlowBigQuery()
    if there:
        assert write(service, tmp_path, b"one")
    service.interrupted = True
    with pytest.raises(KeyboardInterrupt):
        write(service, tmp_path, b"second")
    service.interrupted = False
    if late:
        service.finish()
    for content in (b"second", b"the third"):
        assert write(service, tmp_path, content, service.finish)
        assert service.content == content


def test_a_table_that_was_changed_meanwhile_is_kept(tmp_path: Path) -> None:
    service = SlowBigQuery()
    assert write(service, tmp_path, b"one")
    with pytest.raises(StateError) as refused:
        write(service, tmp_path, b"second", service.change)
    assert refused.value.reason_code == "object_replaced"
    assert not write(service, tmp_path, b"second")
    assert service.content == b"theirs"
