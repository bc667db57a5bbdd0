"""The REST service as it should be, in memory: files, batches, and what is true of each job at each time.

What its jobs come to is drawn from the seed and the number of the job alone. ``Lies`` says how the service misstates
it; a service that is ``healthy`` tells all, and what is late has come.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import json
import random
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable

BASE = "https://hostile.invalid"
EPOCH = 1_790_000_000.0
#: What a row comes to, attempt by attempt: an answer, an error code, no line, or half a line.
ROWS = ("good",) * 12 + (13, 14, 8, 3, 7, "none", "broken", "twice", "blocked")
ENDS = (("SUCCEEDED", None),) * 9 + (("FAILED", 13), ("FAILED", 3), ("EXPIRED", None), ("CANCELLED", None))
_FILE = re.compile(r"(?:/download)?/v1beta/(files/[^/:]+)(:download)?")
_BATCH = re.compile(r"/v1beta/(batches/[^/:]+)(:cancel)?")


@dataclass(frozen=True, slots=True)
class Lies:
    """How the service misstates what is true, while it is not healthy: chances, and seconds."""

    hides: float = 0.0
    repeats: float = 0.0
    stale: float = 0.0
    no_input: float = 0.0
    mixes_up: float = 0.0
    odd: float = 0.0
    foreign: int = 0
    page: int = 100
    listed_late: float = 0.0
    output_late: float = 0.0
    complete_late: float = 0.0
    vanish: float = 0.0
    skew: float = 0.0
    spoils: float = 0.0


@dataclass
class Job:
    """A job and its whole fate."""

    name: str
    display_name: str
    model: str
    file_name: str | None
    keys: list[str]
    made_at: float
    ends_at: float
    end: str
    code: int | None
    rows: dict[str, Any]
    listed_at: float
    output_at: float
    complete_at: float
    holes: frozenset[str]
    vanishes_at: float
    #: How often a list left it out.
    left_out: int = 0
    key: str = ""

    def state(self, now: float) -> str:
        """Its state, without prefix."""
        if now >= self.ends_at:
            return self.end
        return "PENDING" if now < self.made_at + (self.ends_at - self.made_at) / 3 else "RUNNING"

    def line(self, key: str) -> bytes | None:
        """The one line of a key; None where there is none."""
        what = self.rows[key]
        if what in {"none", "unanswered"}:
            return None
        if what == "blocked":
            answer: dict[str, Any] = {"response": {"promptFeedback": {"blockReason": "SAFETY"}}}
        elif isinstance(what, int):
            answer = {"error": {"code": what, "message": f"why, {self.key}"}}
        else:
            answer = {
                "response": {
                    "candidates": [
                        {
                            "content": {"parts": [{"text": f"{key} by {self.name}"}], "role": "model"},
                            "finishReason": "STOP",
                        }
                    ],
                    "usageMetadata": {"promptTokenCount": 4, "candidatesTokenCount": 2, "totalTokenCount": 6},
                }
            }
        line = json.dumps({**answer, "key": key}).encode()
        return line[: len(line) // 2] if what == "broken" else line

    def counts(self) -> tuple[int, int]:
        """How many rows succeeded and failed, by the service's count at the end."""
        answered = [what for what in self.rows.values() if what not in {"none", "unanswered"}]
        failed = sum(isinstance(what, int) for what in answered)
        return len(answered) - failed, failed


@dataclass
class Answer:
    """An HTTP answer before anything happens to it."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, value: Any, status: int = 200, **headers: str) -> Answer:
        """A JSON answer."""
        words = {"content-type": "application/json; charset=UTF-8"}
        words.update({name.replace("_", "-"): text for name, text in headers.items()})
        return cls(status, json.dumps(value).encode(), words)

    @classmethod
    def error(cls, status: int, reason: str, message: str, **headers: str) -> Answer:
        """An error in the service's own words."""
        return cls.of({"error": {"code": status, "message": message, "status": reason}}, status, **headers)


NOT_FOUND = ("NOT_FOUND", "Requested entity was not found.")


class Service:
    """``handle`` has the effect of a request and returns the honest answer, but for the lies about jobs."""

    def __init__(self, seed: int, lies: Lies, now: Callable[[], float], key: str) -> None:
        self._seed, self._lies, self._clock, self._key = seed, lies, now, key
        self._chance = random.Random(f"{seed} lies")
        self.healthy = False
        self.files: dict[str, bytes] = {}
        self.uploads: dict[str, tuple[str, int, bytearray]] = {}
        self.jobs: list[Job] = []
        self.requests = 0
        self.time = 0.0
        self._foreign: list[Job] = []

    @property
    def lies(self) -> Lies:
        """The lies of this moment."""
        return Lies() if self.healthy else self._lies

    def _now(self) -> float:
        self.time = self._clock()
        return self.time

    def heal(self) -> None:
        """From now on all is well: what is late has come."""
        self.healthy = True
        for job in self.jobs:
            job.listed_at = job.output_at = 0.0
            job.complete_at = 0.0
            job.vanishes_at = job.vanishes_at if job.vanishes_at <= self._now() else float("inf")

    def handle(self, method: str, url: str, headers: dict[str, str], body: bytes) -> Answer:
        """One request."""
        self.requests += 1
        parts = urlsplit(url)
        path, query = unquote(parts.path), parse_qs(parts.query)
        if path == "/upload/v1beta/files":
            return self._open_upload(json.loads(body))
        if path.startswith("/upload/session/"):
            return self._upload(path, headers, body)
        if path == "/v1beta/batches":
            return self._list(query.get("pageToken", ["0"])[0])
        if found := _BATCH.fullmatch(path):
            return self._batch(method, found[1], cancels=bool(found[2]))
        if found := _FILE.fullmatch(path):
            return self._download(found[1], headers) if found[2] else self._file(method, found[1])
        if path.endswith(":batchGenerateContent"):
            return self._create(path.split("/")[-1].partition(":")[0], json.loads(body)["batch"])
        if path.startswith("/v1beta/models/"):
            return Answer.of({"name": path.removeprefix("/v1beta/")})
        return Answer(404, b"<html>no such page</html>")

    # Files -----------------------------------------------------------------------------------------------------------

    def _open_upload(self, asked: dict[str, Any]) -> Answer:
        url = f"/upload/session/{len(self.uploads)}"
        self.uploads[url] = (asked["file"]["name"], int(asked["file"]["sizeBytes"]), bytearray())
        return Answer.of({}, x_goog_upload_url=f"{BASE}{url}?upload_id=1", x_goog_upload_status="active")

    def _upload(self, path: str, headers: dict[str, str], body: bytes) -> Answer:
        if path not in self.uploads:
            return Answer.error(404, *NOT_FOUND)
        name, size, data = self.uploads[path]
        command, final = headers["x-goog-upload-command"], name in self.files
        if command.startswith("upload") and not final:
            offset = int(headers["x-goog-upload-offset"])
            assert offset <= len(data), "bytes are left out"
            data[offset:] = body
            if "finalize" in command and len(data) == size:
                self.files[name], final = bytes(data), True
        described = {"file": self._described(name)} if final else {}
        state = "final" if final else "active"
        return Answer.of(described, x_goog_upload_status=state, x_goog_upload_size_received=str(len(data)))

    def receive_part(self, path: str, body: bytes) -> None:
        """Half of a chunk arrives before the connection breaks."""
        if (upload := self.uploads.get(path)) is not None and upload[0] not in self.files:
            upload[2].extend(body[: len(body) // 2])

    def _described(self, name: str) -> dict[str, Any]:
        data = self.files[name]
        digest = base64.b64encode(hashlib.sha256(data).hexdigest().encode()).decode()
        return {"name": name, "sizeBytes": str(len(data)), "sha256Hash": digest, "state": "ACTIVE"}

    def _file(self, method: str, name: str) -> Answer:
        if name not in self.files:
            return Answer.error(403, "PERMISSION_DENIED", "You do not have permission to access the File.")
        if method == "DELETE":
            del self.files[name]
            return Answer.of({})
        return Answer.of(self._described(name))

    def _download(self, name: str, headers: dict[str, str]) -> Answer:
        job = next((job for job in self.jobs if f"files/out-{job.name[8:]}" == name), None)
        if job is None or self._now() >= job.vanishes_at:
            return Answer.error(404, *NOT_FOUND)
        data = self._output(job)
        begin = re.fullmatch(r"bytes=(\d+)-", headers.get("range", ""))
        if begin is None or self._chance.random() < self.lies.spoils:
            return Answer(200, data, {"content-length": str(len(data))})
        start = int(begin[1])
        if start >= len(data):
            return Answer(416, b"", {"content-range": f"bytes */{len(data)}"})
        words = {
            "content-range": f"bytes {start}-{len(data) - 1}/{len(data)}",
            "content-length": str(len(data) - start),
        }
        return Answer(206, data[start:], words)

    def _output(self, job: Job) -> bytes:
        whole = self._now() >= job.complete_at
        lines = [line for key in job.keys if (whole or key not in job.holes) and (line := job.line(key)) is not None]
        lines += [line for key in job.keys if job.rows[key] == "twice" and (line := job.line(key)) is not None]
        chance = random.Random(f"{self._seed} {job.name} {whole}")
        if chance.random() < 0.5:
            chance.shuffle(lines)
        # A line without a key may be the answer of a request that is late, so nobody can tell what is missing.
        strange_lines = [b"", b'{"key":"nobody","response":{}}', b"[1]"]
        strange_lines += [] if job.holes else [b"{}", b'{"response":{}}']
        for strange in strange_lines:
            if lines and chance.random() < self._lies.spoils:
                lines.insert(chance.randrange(len(lines) + 1), strange)
        if len(lines) > 1 and lines[-1].count(b"}") < 2:  # half a line at the end would look like a file that was cut
            lines.append(lines.pop(0))
        return b"".join(line + b"\n" for line in lines)

    # Batches ---------------------------------------------------------------------------------------------------------

    def _make(
        self, model: str, display: str, file_name: str | None, keys: list[str], foreign: int | None = None
    ) -> Job:
        number = len(self.jobs) if foreign is None else 900 + foreign
        chance, lies, now = random.Random(f"{self._seed} job {number}"), self.lies, self._now()
        ends_at = now + chance.choice([20.0, 300.0, 4_000.0, 40_000.0]) * chance.uniform(0.5, 1.0)
        end, code = chance.choice(ENDS)
        rows: dict[str, Any] = {key: chance.choice(ROWS) for key in keys}
        if file_name is None:  # what is inline cannot be half a line
            rows = {key: "none" if what == "broken" else what for key, what in rows.items()}
        if end != "SUCCEEDED":
            rest = 1 if end == "CANCELLED" and chance.random() < 0.5 else "unanswered"
            answered = len(keys) // 2 if end in {"EXPIRED", "CANCELLED"} and chance.random() < 0.5 else 0
            rows = {key: "good" if n < answered else rest for n, key in enumerate(keys)}
        holes = frozenset(key for key in keys if lies.complete_late and chance.random() < 0.4)
        return Job(
            f"batches/job{number}", display, model, file_name, keys, now, ends_at, end, code, rows,
            listed_at=now + chance.uniform(0.0, lies.listed_late),
            output_at=ends_at + chance.uniform(0.0, lies.output_late),
            complete_at=ends_at + chance.uniform(0.0, lies.complete_late),
            holes=holes,
            vanishes_at=now + chance.uniform(60.0, 9_000.0) if chance.random() < lies.vanish else float("inf"),
            key=self._key,
        )  # fmt: skip

    def _create(self, model: str, batch: dict[str, Any]) -> Answer:
        source = batch["inputConfig"]
        name = source.get("fileName")
        if name is not None:
            if name not in self.files:
                return Answer.error(403, "PERMISSION_DENIED", "no such file")
            keys = [json.loads(line)["key"] for line in self.files[name].splitlines()]
        else:
            keys = [one["metadata"]["key"] for one in source["requests"]["requests"]]
        job = self._make(model, batch["displayName"], name, keys)
        self.jobs.append(job)
        return Answer.of(self._operation(job))

    def _operation(self, job: Job, *, listed: bool = False) -> dict[str, Any]:
        now, lies, chance = self._now(), self.lies, self._chance
        state, seen = job.state(now), now
        if chance.random() < lies.stale and listed:
            state, seen = job.state(job.made_at), job.made_at

        def stamp(at: float) -> str:
            return dt.datetime.fromtimestamp(EPOCH + at + lies.skew, dt.UTC).isoformat().replace("+00:00", "Z")

        meta: dict[str, Any] = {
            "@type": "type.googleapis.com/google.ai.generativelanguage.v1main.GenerateContentBatch",
            "name": job.name,
            "model": f"models/{job.model}",
            "displayName": job.display_name,
            "state": f"{chance.choice(['BATCH', 'JOB']) if not self.healthy else 'BATCH'}_STATE_{state}",
            "createTime": stamp(job.made_at),
        }
        stats = {"requestCount": len(job.keys)}
        if seen >= job.ends_at:
            meta["endTime"] = stamp(job.ends_at)
            stats["successfulRequestCount"], stats["failedRequestCount"] = job.counts()
        meta["batchStats"] = {name: str(count) for name, count in stats.items() if count}
        if chance.random() < lies.odd:
            meta[chance.choice(["createTime", "updateTime", "endTime"])] = chance.choice(
                ["10000-01-01T00:00:00Z", 5, {}]
            )
            meta["batchStats"]["pendingRequestCount"] = chance.choice([2**64, True, [], "-5", "9" * 400])
        if job.file_name is not None and not (listed and chance.random() < lies.no_input):
            meta["inputConfig"] = {"fileName": job.file_name}
        body: dict[str, Any] = {"name": job.name, "metadata": meta}
        if seen >= job.ends_at:
            body["done"] = True
            if job.code is not None:
                body["error"] = {"code": job.code, "message": f"It failed with {self._key}."}
            if now >= job.output_at and (state == "SUCCEEDED" or any(job.counts())):
                self._put_output(job, body, listed=listed)
        return body

    def _put_output(self, job: Job, body: dict[str, Any], *, listed: bool) -> None:
        if job.file_name is not None:
            output: dict[str, Any] = {"responsesFile": f"files/out-{job.name[8:]}"}
        else:
            whole = self._now() >= job.complete_at
            lines = [job.line(key) for key in job.keys if whole or key not in job.holes]
            inner = [json.loads(line) for line in lines if line is not None]
            for item in inner:
                item["metadata"] = {"key": item.pop("key")}
            output = {"inlinedResponses": {} if listed else {"inlinedResponses": inner}}
        if self._chance.random() < 0.5:
            body["metadata"]["output"] = output
        else:
            body["response"] = output

    def _batch(self, method: str, name: str, *, cancels: bool) -> Answer:
        assert method == "GET", "nobody has asked for a cancel or a deletion"
        assert not cancels
        job = next((job for job in self.jobs if job.name == name), None)
        if job is None or self._now() >= job.vanishes_at:
            return Answer.error(404, *NOT_FOUND)
        if self._chance.random() < self.lies.mixes_up and len(self.jobs) > 1:
            return Answer.of(self._operation(self._chance.choice([one for one in self.jobs if one is not job])))
        return Answer.of(self._operation(job))

    def _list(self, token: str) -> Answer:
        lies, chance, now = self.lies, self._chance, self._now()
        mine = [job for job in reversed(self.jobs) if now < job.vanishes_at]
        shown = [job for job in mine if now >= job.listed_at and chance.random() >= lies.hides]
        for job in mine:
            job.left_out += job not in shown
        if len(self._foreign) < lies.foreign:
            self._foreign = [self._make("foreign", f"theirs-{n}", None, ["x"], foreign=n) for n in range(lies.foreign)]
        every = shown + self._foreign
        every += [job for job in every if chance.random() < lies.repeats]
        begin, page = int(token), lies.page
        found: dict[str, Any] = {
            "operations": [self._operation(job, listed=True) for job in every[begin : begin + page]]
        }
        if begin + page < len(every):
            found["nextPageToken"] = str(begin + page)
        return Answer.of(found if every else {})
