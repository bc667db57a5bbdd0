"""A caller of Vertex AI and Cloud Storage in plain HTTP."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    import httpx2

    from gemini_batch.emulator.service.core import Emulator

MODEL = "publishers/google/models/gemini-3.8-flash"
BEARER = {"Authorization": "Bearer a-token"}


def row(text: str, **line: Any) -> dict[str, Any]:
    """One line of an input, as an object, whose only label is its text."""
    request = {"contents": [{"role": "user", "parts": [{"text": text}]}], "labels": {"id": text}}
    return {"request": request, **line}


def labels(rows: list[dict[str, Any]]) -> list[str]:
    """The labels of the requests that rows echo."""
    return [one["request"]["labels"]["id"] for one in rows]


@dataclass
class Caller:
    """A project with a bucket of its own."""

    http: httpx2.Client
    world: Emulator
    project: str = "a-project"
    bucket: str = "a-bucket"

    @property
    def jobs(self) -> str:
        return f"/v1/projects/{self.project}/locations/us-central1/batchPredictionJobs"

    def put(self, name: str, data: bytes, **query: str) -> httpx2.Response:
        params = {"uploadType": "media", "name": name, **query}
        return self.http.post(f"/upload/storage/v1/b/{self.bucket}/o", params=params, content=data)

    def read(self, name: str, **headers: str) -> httpx2.Response:
        path = f"/storage/v1/b/{self.bucket}/o/{quote(name, safe='')}"
        return self.http.get(path, params={"alt": "media"}, headers=headers)

    def names(self, **query: str) -> list[str]:
        found = self.http.get(f"/storage/v1/b/{self.bucket}/o", params=query).json()
        return [one["name"] for one in found.get("items", ())]

    def body(self, *uris: str, **job: Any) -> dict[str, Any]:
        """What creates a job of objects of the bucket."""
        return {
            "displayName": "nightly",
            "model": MODEL,
            "inputConfig": {"instancesFormat": "jsonl", "gcsSource": {"uris": [*(uris or ("in.jsonl",))]}},
            "outputConfig": {
                "predictionsFormat": "jsonl",
                "gcsDestination": {"outputUriPrefix": f"gs://{self.bucket}/out"},
            },
            **job,
        }

    def create(self, body: dict[str, Any]) -> httpx2.Response:
        return self.http.post(self.jobs, json=body, headers=BEARER)

    def begin(self, *rows: dict[str, Any], **job: Any) -> str:
        """Create a job of these rows; its path."""
        self.put("in.jsonl", b"".join(json.dumps(one).encode() + b"\n" for one in rows))
        made = self.create(self.body(f"gs://{self.bucket}/in.jsonl", **job))
        assert made.status_code == 200, made.text
        return f"/v1/{made.json()['name']}"

    def get(self, job: str) -> dict[str, Any]:
        answer = self.http.get(job, headers=BEARER)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def state(self, job: str) -> str:
        state: str = self.get(job)["state"]
        return state.removeprefix("JOB_STATE_")

    def ended(self, job: str) -> dict[str, Any]:
        while "endTime" not in (found := self.get(job)):
            pass
        return found

    def rows(self, job: str) -> list[dict[str, Any]]:
        """The lines of all files of a job that has ended, without an earlier copy of some."""
        folder = self.ended(job)["outputInfo"]["gcsOutputDirectory"].removeprefix(f"gs://{self.bucket}/")
        text = b"".join(self.read(name).content for name in self.names(prefix=folder) if "/incremental_" not in name)
        return [json.loads(one) for one in text.split(b"\n") if one]

    def add_bucket(self) -> None:
        made = self.http.post("/storage/v1/b", params={"project": self.project}, json={"name": self.bucket})
        assert made.status_code == 200, made.text
