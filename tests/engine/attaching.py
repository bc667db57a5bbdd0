"""A service that checks the attachments of every job, a table whose rows name pictures, and commands on it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from engine.fake import FakeService, FakeSession
from gemini_batch.commands.clean import Cleaned, clean
from gemini_batch.commands.create import create
from gemini_batch.commands.run import run
from gemini_batch.intake.submission import Submission
from gemini_batch.intake.tabular import TableInput
from gemini_batch.tables.making.recipe import Asked

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import msgspec

    from gemini_batch.catalog import Method
    from gemini_batch.report.result_set import Results
    from gemini_batch.store.ledger.run_options import RunOptions
    from gemini_batch.wire import Operation, RemoteFile

HOUR = 3600.0
URIS = "https://generativelanguage.googleapis.com/v1beta/"
NAMES = ("a", "b", "c")


def content(name: str) -> bytes:
    """A picture of which no other has a byte in common but its head."""
    return b"\x89PNG\r\n\x1a\n" + name.encode() * 200


@dataclass
class Store(FakeService):
    """The fake service with processing and an end of files, and a check of every job that is created.

    ``shows``: the states of a media file, one for each time it is shown; ACTIVE after them. ``home``: where the ledger
    is, so that each upload can be compared with what was recorded before it.
    """

    home: Path | None = None
    shows: dict[str, list[str]] = field(default_factory=dict)
    mime: dict[str, str | None] = field(default_factory=dict)
    expiry: dict[str, float] = field(default_factory=dict)
    sent: list[list[dict[str, Any]]] = field(default_factory=list)
    checks: bool = True
    on_start: Callable[[str], None] = lambda _: None

    async def start_upload(self, *, name: str, display_name: str, size: int, mime_type: str | None = None) -> str:
        assert self.home is not None
        with contextlib.closing(sqlite3.connect(self.home / "ledger.db")) as db:
            known = db.execute("SELECT name FROM attachments UNION SELECT file FROM jobs").fetchall()
        assert (name,) in known, "the name is recorded before anything is sent"
        self.mime[name] = mime_type
        self.on_start(name)
        return await super().start_upload(name=name, display_name=display_name, size=size)

    def _file(self, name: str) -> RemoteFile:
        found = super()._file(name)
        self.expiry.setdefault(name, self.clock.now + 48 * HOUR)
        coming = self.shows.get(self.which(name), [])
        found.state = coming.pop(0) if coming and self.mime[name] else "ACTIVE"
        found.uri = URIS + name
        found.mime_type = self.mime[name]
        found.expiration_time = _rfc3339(self.expiry[name])
        return found

    def which(self, name: str) -> str:
        """The picture that a file is."""
        return self.files[name][8:9].decode()

    async def get_file(self, name: str) -> RemoteFile:
        if self.expiry.get(name, self.clock.now + 1) <= self.clock.now:
            self.files.pop(name, None)
        return await super().get_file(name)

    async def create(
        self,
        *,
        model: str,
        method: Method,
        display_name: str,
        file_name: str | None = None,
        requests: Sequence[tuple[str, msgspec.Raw]] | None = None,
        webhook_url: str | None = None,
    ) -> Operation:
        before = len(self.jobs)
        made: list[Any] = []
        if file_name is not None:
            made = [json.loads(line) for line in self.files[file_name].splitlines()]
        elif requests is not None:
            made = [{"key": key, "request": json.loads(bytes(raw))} for key, raw in requests]
        try:
            return await super().create(
                model=model,
                method=method,
                display_name=display_name,
                file_name=file_name,
                requests=requests,
                webhook_url=webhook_url,
            )
        finally:
            if len(self.jobs) > before:
                if self.checks:
                    self.check(made)
                self.sent.append(made)

    def check(self, made: list[Any]) -> None:
        """Each row has the picture that its prompt names, in a file that lives long enough."""
        for line in made:
            *files, text = line["request"]["contents"][0]["parts"]
            asked = text["text"].split()[-1]
            for part in files:
                data = part["fileData"]
                name = data["fileUri"].removeprefix(URIS)
                assert self.files[name] == content(asked)
                assert data["mimeType"] == self.mime[name] == "image/png"
                assert self.expiry[name] - self.clock.now >= 24 * HOUR

    @property
    def uploaded(self) -> list[str]:
        """The pictures that the service has, by name."""
        return sorted(self.which(name) for name in self.files if self.mime.get(name))


def _rfc3339(at: float) -> str:
    import datetime as dt

    return dt.datetime.fromtimestamp(at, dt.UTC).isoformat().replace("+00:00", "Z")


def make_table(folder: Path, rows: int = 6) -> Path:
    """A table whose rows name three pictures in turn."""
    folder.mkdir(exist_ok=True)
    (folder / "img").mkdir(exist_ok=True)
    for name in NAMES:
        (folder / "img" / f"{name}.png").write_bytes(content(name))
    lines = ["id,pic", *(f"r{n},{NAMES[n % 3]}" for n in range(rows))]
    (folder / "in.csv").write_text("\n".join(lines) + "\n")
    return folder


def the_table(folder: Path, prompt: str = "what is", **order: Any) -> Submission:
    asked = Asked(prompt=prompt + " {{ id }} {{ pic }}", attach=("img/{{ pic }}.png",), key=("id",))
    table = TableInput(rows=str(folder / "in.csv"), asked=asked)
    return Submission(source=folder / "in.csv", table=table, **order)


def work(
    service: Store,
    folder: Path,
    what: str | Submission | None = None,
    *,
    options: RunOptions | None = None,
    key: str = "a-key",
    heard: list[Any] | None = None,
) -> Results:
    async def whole() -> Results:
        async with FakeSession(service, folder / "home", key=key) as session:
            try:
                return await run(session, what or the_table(folder), options, output=folder / "results.jsonl")
            finally:
                if heard is not None:
                    heard.extend(session.events)

    service.home = folder / "home"
    return asyncio.run(whole())


def made(service: Store, folder: Path, **order: Any) -> str:
    async def whole() -> str:
        async with FakeSession(service, folder / "home") as session:
            return (await create(session, the_table(folder, **order))).run

    service.home = folder / "home"
    return asyncio.run(whole())


def cleaned(service: Store, folder: Path) -> Cleaned:
    async def whole() -> Cleaned:
        async with FakeSession(service, folder / "home") as session:
            return await clean(session, dry_run=False)

    return asyncio.run(whole())


def keys(rows: int = 6) -> dict[str, int]:
    return {f"r{n}": 1 for n in range(rows)}
