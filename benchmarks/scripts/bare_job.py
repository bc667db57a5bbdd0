"""A job by calls alone: ``bare_job.py FILE URL``; prints the seconds of the upload, of the job, and of the download.

Nothing is decoded, so what it measures is the service.
"""

from __future__ import annotations

import http.client
import json
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

_KEY = {"x-goog-api-key": "bare"}
_MODEL = "gemini-3-flash-preview"
_PIECE = 1 << 20


class _Service:
    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=600)

    def call(
        self, method: str, path: str, body: object = None, **headers: str
    ) -> tuple[http.client.HTTPMessage, bytes]:
        kind = {"content-type": "application/json"} if isinstance(body, dict) else {}
        data = json.dumps(body).encode() if isinstance(body, dict) else body
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.connection.request(method, path, data, {**_KEY, **kind, **named})  # type: ignore[arg-type]
        reply = self.connection.getresponse()
        content = reply.read()
        if reply.status != 200:
            raise RuntimeError(f"{method} {path}: {reply.status} {content!r}")
        return reply.headers, content


def main(file: Path, url: str) -> dict[str, float]:
    """Upload, create, wait, download."""
    service, size = _Service(url), file.stat().st_size
    begun = time.perf_counter()
    headers, _ = service.call(
        "POST",
        "/upload/v1beta/files",
        {"file": {"displayName": "bare"}},
        x_goog_upload_protocol="resumable",
        x_goog_upload_command="start",
        x_goog_upload_header_content_length=str(size),
        x_goog_upload_header_content_type="application/jsonl",
    )
    place = urlsplit(headers["x-goog-upload-url"])
    with file.open("rb") as data:
        _, content = service.call(
            "POST",
            f"{place.path}?{place.query}",
            data,
            x_goog_upload_command="upload, finalize",
            x_goog_upload_offset="0",
            content_length=str(size),
        )
    uploaded = time.perf_counter()
    batch = {"displayName": "bare", "inputConfig": {"fileName": json.loads(content)["file"]["name"]}}
    _, content = service.call("POST", f"/v1beta/models/{_MODEL}:batchGenerateContent", {"batch": batch})
    while not (job := json.loads(content)).get("done"):
        time.sleep(0.02)
        _, content = service.call("GET", f"/v1beta/{job['name']}")
    answered = time.perf_counter()
    service.connection.request(
        "GET", f"/download/v1beta/{job['response']['responsesFile']}:download?alt=media", headers=_KEY
    )
    reply, got = service.connection.getresponse(), 0
    while piece := reply.read(_PIECE):
        got += len(piece)
    ended = time.perf_counter()
    return {"upload": uploaded - begun, "answer": answered - uploaded, "download": ended - answered, "bytes": got}


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), sys.argv[2])))
