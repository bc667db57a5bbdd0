"""A service in memory, and death at any call.

Every operation of the service is a point at which the process may die: before the service has done anything
(``before``), or after it has done it and before the answer was heard (``after``).
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from engine.clock import Clock, Threads
from gemini_batch.api.calls import Called
from gemini_batch.api.files import SessionLost
from gemini_batch.backend import Backend
from gemini_batch.catalog import Method
from gemini_batch.errors import ApiError, NetworkError
from gemini_batch.session import Session
from gemini_batch.settings import Secret, Settings
from gemini_batch.wire import Operation, RemoteFile, RemoteModel

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from pathlib import Path
    from typing import Self

    from gemini_batch.api.files import ReadAt
    from gemini_batch.events import Event

ADDRESS = "https://fake.invalid"


def answer_line(key: str, model: str | None = None) -> bytes:
    """A good answer, as the service words it; the text names its key, so that a mix-up shows."""
    return msgspec.json.encode(
        {
            "response": {
                "candidates": [
                    {"content": {"parts": [{"text": f"answer to {key}"}], "role": "model"}, "finishReason": "STOP"}
                ],
                "usageMetadata": {"promptTokenCount": 4, "candidatesTokenCount": 2, "totalTokenCount": 6},
                **({} if model is None else {"modelVersion": model}),
            },
            "key": key,
        }
    )


class FakeSession(Session):
    """A session whose backend is the fake service."""

    def __init__(self, service: FakeService, home: Path, *, key: str = "a-key", **changes: Any) -> None:
        self.events: list[Event] = []
        settings = Settings(home=home, base_url=ADDRESS, api_key=Secret(key), **changes)
        super().__init__(settings, service.clock.world(), self.events.append)
        self.fake = service

    async def __aenter__(self) -> Self:
        Threads.of_loop()
        return await super().__aenter__()

    async def backend(self) -> Backend:
        return Backend(ADDRESS, self.settings.require_key(), self.fake)


class Killed(BaseException):
    """The process is gone: nothing catches this."""


@dataclass
class Job:
    name: str
    display_name: str
    model: str
    method: str
    keys: list[str]
    file_name: str | None
    created: float
    state: str = "BATCH_STATE_PENDING"
    error: dict[str, Any] | None = None
    lines: list[bytes] = field(default_factory=list)
    inline: list[Any] | None = None
    output: bool = True
    webhook_url: str | None = None
    deleted: bool = False
    output_deleted: bool = False
    looks: int = 0
    tokens: int = 0

    @property
    def alive(self) -> bool:
        return not self.deleted and self.state in {"BATCH_STATE_PENDING", "BATCH_STATE_RUNNING"}


@dataclass
class FakeService:
    """The service's world; it outlives every client process."""

    clock: Clock
    files: dict[str, bytes] = field(default_factory=dict)
    uploads: dict[str, tuple[str, bytearray]] = field(default_factory=dict)
    jobs: list[Job] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    bytes_received: int = 0
    #: ``(number of the call, when)``: die there.
    death: tuple[int, Literal["before", "after"]] | None = None
    #: For ``(operation, how often it was called before)``: raise this, before or after the work was done.
    faults: dict[tuple[str, int], tuple[Literal["before", "after"], Exception]] = field(default_factory=dict)
    chunk: int = 64
    page: int = 100
    end_state: str = "BATCH_STATE_SUCCEEDED"
    polls_to_end: int = 2
    answer: Callable[[str], bytes | None] = answer_line
    #: The same with the number of the attempt, where that matters.
    answer_at: Callable[[str, int], bytes | None] | None = None
    arrange: Callable[[list[bytes]], list[bytes]] = lambda lines: lines
    output_after: int = 0
    #: The model that the service states for every job, if not the one that was asked.
    states: str | None = None
    list_hides: int = 0
    #: Limits on what may be alive at once; a create over them is refused with 429.
    most_tokens: int | None = None
    most_jobs: int | None = None
    refusals: int = 0
    #: What the service counts in a active job: how many succeeded and how many failed.
    counts: Callable[[Job], tuple[int, int]] = lambda _: (0, 0)
    #: The same for a job that has ended.
    counts_at_end: Callable[[Job], tuple[int, int]] = lambda _: (0, 0)
    #: How the n-th job ends, where it is not ``end_state``: state and error code.
    ends: dict[int, tuple[str, int | None]] = field(default_factory=dict)

    #: Called before each download, with the number of those before it.
    on_download: Callable[[int], None] = lambda _: None

    #: What happens at a time of the clock.
    events: list[tuple[float, Callable[[], None]]] = field(default_factory=list)

    #: How many requests a job has answered when it is cancelled; None: it goes on.
    cancelled_answers: int | None = None

    #: The keys of the calls that were answered, and which tier the answers name.
    called: list[str] = field(default_factory=list)
    tier: str = "flex"

    def after(self, seconds: float, happens: Callable[[], None]) -> None:
        """Let something happen at the first call of the service after so many seconds."""
        self.events.append((self.clock.monotonic + seconds, happens))

    # The machinery ---------------------------------------------------------------------------------------------------

    def _begin(self, operation: str) -> Callable[[], None]:
        for event in [one for one in self.events if one[0] <= self.clock.monotonic]:
            self.events.remove(event)
            event[1]()
        number, times = len(self.calls), self.calls.count(operation)
        self.calls.append(operation)
        when, error = self.faults.get((operation, times), (None, None))

        def end() -> None:
            if self.death == (number, "after"):
                raise Killed
            if when == "after" and error is not None:
                raise error

        if self.death == (number, "before"):
            raise Killed
        if when == "before" and error is not None:
            raise error
        return end

    def paid(self) -> dict[str, int]:
        """How often each key was paid for."""
        counts: dict[str, int] = {}
        for job in self.jobs:
            for key in job.keys:
                counts[key] = counts.get(key, 0) + 1
        for key in self.called:
            counts[key] = counts.get(key, 0) + 1
        return counts

    # Files -----------------------------------------------------------------------------------------------------------

    def new_name(self, token: str, *, mime_type: str | None) -> str:
        return f"files/gb-{token}"

    def is_kept_here(self, name: str) -> bool:
        return True

    async def start_upload(self, *, name: str, display_name: str, size: int, mime_type: str | None = None) -> str:
        end = self._begin("start_upload")
        url = f"https://fake.invalid/upload/{len(self.uploads)}"
        self.uploads[url] = (name.removeprefix("files/"), bytearray())
        end()
        return url

    async def query_upload(self, session: str) -> tuple[str, int]:
        end = self._begin("query_upload")
        if session not in self.uploads:
            raise SessionLost("unknown")
        name, data = self.uploads[session]
        end()
        return ("final" if f"files/{name}" in self.files else "active"), len(data)

    async def send_upload(
        self,
        session: str,
        read_at: ReadAt,
        *,
        size: int,
        offset: int,
        progress: Callable[[int], None],
        mime_type: str | None = None,
    ) -> RemoteFile | None:
        while True:
            end = self._begin("chunk")
            if session not in self.uploads:
                raise SessionLost("unknown")
            name, data = self.uploads[session]
            assert len(data) == offset, "the offset must be what the service holds"
            piece = read_at(offset, min(self.chunk, size - offset))
            data += piece
            self.bytes_received += len(piece)
            offset += len(piece)
            if offset >= size:
                self.files[f"files/{name}"] = bytes(data)
                end()
                return self._file(f"files/{name}")
            end()
            progress(offset)

    def _file(self, name: str) -> RemoteFile:
        data = self.files[name]
        digest = base64.b64encode(hashlib.sha256(data).hexdigest().encode()).decode()
        return RemoteFile(name=name, size_bytes=str(len(data)), sha256_hash=digest, state="ACTIVE")

    async def get_file(self, name: str) -> RemoteFile:
        end = self._begin("get_file")
        if name not in self.files:
            raise ApiError("no permission or missing", status=403, reason="PERMISSION_DENIED")
        end()
        return self._file(name)

    async def delete_file(self, name: str) -> None:
        end = self._begin("delete_file")
        self.files.pop(name, None)
        end()

    async def get_model(self, name: str) -> RemoteModel:
        self._begin("get_model")()
        return RemoteModel(name=f"models/{name}")

    async def count_tokens(self, name: str, request: bytes, *, embeds: bool) -> int:
        raise NotImplementedError

    # Batches ---------------------------------------------------------------------------------------------------------

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
        end = self._begin("create")
        tokens = 0 if file_name is None else len(self.files[file_name]) // 4
        alive = [job for job in self.jobs if job.alive]
        if (self.most_tokens is not None and sum(job.tokens for job in alive) + tokens > self.most_tokens) or (
            self.most_jobs is not None and len(alive) >= self.most_jobs
        ):
            self.refusals += 1
            raise ApiError("You exceeded your current quota.", status=429, reason="RESOURCE_EXHAUSTED")
        if file_name is not None:
            keys = [json.loads(line)["key"] for line in self.files[file_name].splitlines()]
        else:
            keys = [key for key, _ in requests or ()]
        job = Job(
            f"batches/job{len(self.jobs)}", display_name, model, method, keys, file_name, self.clock.now,
            inline=None if file_name is not None else [], tokens=tokens, webhook_url=webhook_url,
        )  # fmt: skip
        self.jobs.append(job)
        end()
        return self._operation(job)

    def _operation(self, job: Job) -> Operation:
        ended = job.state.removeprefix("BATCH_STATE_") in {"SUCCEEDED", "FAILED", "CANCELLED", "EXPIRED"}
        meta: dict[str, Any] = {
            "@type": "type.googleapis.com/google.ai.generativelanguage.v1main."
            + ("EmbedContentBatch" if job.method is Method.EMBED else "GenerateContentBatch"),
            "name": job.name,
            "model": f"models/{self.states or job.model}",
            "displayName": job.display_name,
            "state": job.state,
            "batchStats": self._stats(job),
        }
        if job.file_name is not None:
            meta["inputConfig"] = {"fileName": job.file_name}
        body: dict[str, Any] = {"name": job.name, "metadata": meta}
        if ended:
            body["done"] = True
            if job.error is not None:
                body["error"] = job.error
            if job.output and (job.lines or job.state == "BATCH_STATE_SUCCEEDED"):
                if job.inline is not None:
                    inner = [json.loads(line) for line in job.lines]
                    for item in inner:
                        item["metadata"] = {"key": item.pop("key")}
                    meta["output"] = {"inlinedResponses": {"inlinedResponses": inner}}
                else:
                    meta["output"] = {"responsesFile": f"files/batch-{job.name.removeprefix('batches/')}"}
        return msgspec.json.decode(msgspec.json.encode(body), type=Operation)

    def _stats(self, job: Job) -> dict[str, str]:
        succeeded, failed = self.counts(job) if job.alive else self.counts_at_end(job)
        counted = {"requestCount": len(job.keys), "successfulRequestCount": succeeded, "failedRequestCount": failed}
        return {name: str(count) for name, count in counted.items() if count}  # the service leaves out what is zero

    def _move(self, job: Job) -> None:
        job.looks += 1
        if job.alive and job.looks >= self.polls_to_end:
            number = self.jobs.index(job)
            job.state, code = self.ends.get(number, (self.end_state, None))
            job.error = None if code is None else {"code": code, "message": "why"}
            attempt = {key: sum(key in earlier.keys for earlier in self.jobs[:number]) + 1 for key in job.keys}
            lines = [line for key in job.keys if (line := self._answer(key, attempt[key])) is not None]
            job.lines = self.arrange(lines) if job.state == "BATCH_STATE_SUCCEEDED" else []

    def _answer(self, key: str, attempt: int) -> bytes | None:
        if self.answer_at is not None:
            return self.answer_at(key, attempt)
        return self.answer(key)

    async def get(self, name: str, *, server_timeout: int | None = None) -> Operation:
        end = self._begin("get")
        job = next((j for j in self.jobs if j.name == name and not j.deleted), None)
        if job is None:
            raise ApiError("Requested entity was not found.", status=404, reason="NOT_FOUND")
        self._move(job)
        end()
        operation = self._operation(job)
        if self.output_after > 0 and job.state == "BATCH_STATE_SUCCEEDED":
            self.output_after -= 1
            assert operation.metadata is not None
            operation.metadata.output = None
        return operation

    async def call(self, *, model: str, method: Method, request: bytes) -> Called:
        key = json.loads(request)["contents"][0]["parts"][0]["text"].removeprefix("ask ")
        end = self._begin("call")
        await asyncio.sleep(0)  # others are in flight, too
        self.called.append(key)
        end()
        line = self._answer(key, self.called.count(key))
        assert line is not None
        answered = json.loads(line)
        if "error" in answered:
            raise ApiError(answered["error"]["message"], status=500, reason="INTERNAL")
        return Called(json.dumps(answered["response"]).encode(), self.tier)

    async def listing(self) -> AsyncIterator[list[Operation]]:
        end = self._begin("list")
        if self.list_hides > 0:
            self.list_hides -= 1
            yield []
            return
        found = [job for job in reversed(self.jobs) if not job.deleted]
        for job in found:
            self._move(job)
        for start in range(0, len(found) or 1, self.page):
            yield [self._operation(job) for job in found[start : start + self.page]]
        end()

    async def cancel(self, name: str) -> None:
        end = self._begin("cancel")
        job = next(j for j in self.jobs if j.name == name)
        if self.cancelled_answers is not None and job.alive:
            job.state = "BATCH_STATE_CANCELLED"
            lines = [line for key in job.keys[: self.cancelled_answers] if (line := self._answer(key, 1)) is not None]
            job.lines = lines
        end()

    async def download(self, name: str, part: Path, *, progress: Callable[[int, int | None], None]) -> int:
        self.on_download(self.calls.count("download"))
        end = self._begin("download")
        job = next(j for j in self.jobs if name == f"files/batch-{j.name.removeprefix('batches/')}")
        if job.output_deleted:
            raise ApiError("Requested entity was not found.", status=404, reason="NOT_FOUND")
        part.write_bytes(b"".join(line + b"\n" for line in job.lines))
        end()
        return part.stat().st_size


def write_requests(path: Path, keys: Sequence[str], *, max_tokens: int | None = None) -> Path:
    """A request file with these keys; ``max_tokens``: the limit that each request sets on its answer."""
    limit = {} if max_tokens is None else {"generationConfig": {"maxOutputTokens": max_tokens}}
    path.write_bytes(
        b"".join(
            msgspec.json.encode({"key": key, "request": {"contents": [{"parts": [{"text": f"ask {key}"}]}], **limit}})
            + b"\n"
            for key in keys
        )
    )
    return path


def reset() -> Exception:
    """A connection that broke after the request was sent."""
    return NetworkError("The connection broke.", sent=True)
