"""A service that answers each text with its own words, and the nights on which people send their files."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from engine.clock import Clock
from engine.fake import FakeService, FakeSession, Job, Killed
from gemini_batch.commands.clean_local import clean_local
from gemini_batch.commands.create import create
from gemini_batch.commands.results import results
from gemini_batch.commands.run import run
from gemini_batch.intake.submission import Submission
from gemini_batch.store.ledger.run_options import RunOptions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from gemini_batch.commands.clean import Cleaned
    from gemini_batch.commands.create import Created
    from gemini_batch.events import Event
    from gemini_batch.report.result_set import Results
    from gemini_batch.session import Session

Row = tuple[str, str]


@dataclass
class TextService(FakeService):
    """Answers say which text they answer, so that an answer to another request shows."""

    texts: dict[str, dict[str, str]] = field(default_factory=dict)
    #: Texts whose answer is not a success.
    fails: set[str] = field(default_factory=set)
    _job: Job | None = None

    async def create(self, **what: Any) -> Any:
        before = len(self.jobs)
        try:
            return await super().create(**what)
        finally:
            for job in self.jobs[before:]:
                assert job.file_name is not None
                lines = [json.loads(line) for line in self.files[job.file_name].splitlines()]
                self.texts[job.name] = {line["key"]: text_of(line["request"]) for line in lines}

    def _move(self, job: Job) -> None:
        self._job = job
        super()._move(job)

    def _answer(self, key: str, attempt: int) -> bytes | None:
        assert self._job is not None
        text = self.texts[self._job.name][key]
        if text in self.fails:
            return msgspec.json.encode({"key": key, "error": {"code": 3, "message": "no"}})
        parts = [{"text": f"answer to {text}"}]
        usage = {"promptTokenCount": 4, "candidatesTokenCount": 2, "totalTokenCount": 6}
        response = {"candidates": [{"content": {"parts": parts}, "finishReason": "STOP"}], "usageMetadata": usage}
        return msgspec.json.encode({"key": key, "response": response})

    def sent(self) -> Counter[tuple[str, str, str]]:
        """How often each row was paid for: by key, text and model."""
        return Counter((key, text, job.model) for job in self.jobs for key, text in self.texts[job.name].items())


def text_of(request: Mapping[str, Any]) -> str:
    content = request.get("content") or request["contents"][0]
    return str(content["parts"][0]["text"])


def line(key: str, text: str, **more: Any) -> bytes:
    return msgspec.json.encode({"key": key, "request": {"contents": [{"parts": [{"text": text}]}], **more}})


def write(path: Path, rows: Sequence[Row], **more: Any) -> Path:
    path.write_bytes(b"".join(line(*row, **more) + b"\n" for row in rows))
    return path


@dataclass
class Home:
    """One state folder, and the file that is sent again each night."""

    folder: Path
    service: TextService = field(default_factory=lambda: TextService(Clock()))
    key: str = "a-key"
    events: list[Event] = field(default_factory=list)

    @property
    def file(self) -> Path:
        return self.folder / "in.jsonl"

    def do(self, thing: Any) -> Any:
        async def work() -> Any:
            async with FakeSession(self.service, self.folder / "home", key=self.key) as session:
                try:
                    return await thing(session)
                finally:
                    self.events = session.events

        return asyncio.run(work())

    def run(self, rows: Sequence[Row] | None = None, *, most: int | None = None, **order: Any) -> Results:
        """``run`` of the file, with these rows if they are given."""
        if rows is not None:
            write(self.file, rows)
        options = RunOptions(max_requests_per_job=most)
        found: Results = self.do(lambda s: run(s, Submission(source=self.file, **order), options))
        return found

    def create(self, rows: Sequence[Row] | None = None, **order: Any) -> Created:
        if rows is not None:
            write(self.file, rows)
        made: Created = self.do(lambda s: create(s, Submission(source=self.file, **order)))
        return made

    def results(self, name: str) -> Results:
        found: Results = self.do(lambda s: results(s, name))
        return found

    def clean(self, **what: Any) -> Cleaned:
        """``clean --local``."""

        async def work(session: Session) -> Cleaned:
            return clean_local(session, **{"dry_run": False, **what})

        found: Cleaned = self.do(work)
        return found

    def files(self, run_id: str) -> set[str]:
        """The files in the folder of a run."""
        folder = self.folder / "home" / "runs" / run_id
        return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} - {"lock"}

    def killed(self, call: int, when: Literal["before", "after"], thing: Any) -> bool:
        """Do a thing that dies at the ``call``-th call of the service from now; whether it did."""
        self.service.death = (len(self.service.calls) + call, when)
        try:
            thing()
        except Killed:
            return True
        finally:
            self.service.death = None
        return False

    @property
    def said(self) -> str:
        return "\n".join(getattr(event, "message", "") for event in self.events)


def answers(found: Results) -> list[tuple[str, str | None]]:
    """Each key with the text of its answer, in order."""
    return [(row["key"], (row.get("response") or {}).get("text")) for row in found]


def right(rows: Sequence[Row]) -> list[tuple[str, str]]:
    return [(key, f"answer to {text}") for key, text in rows]
