"""Commands with Vertex AI as the backend: offline work beside it, names of jobs, another bucket, what a row shows."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from cli.conftest import request
from gemini_batch.commands.run import _limits
from gemini_batch.emulator.http.server import serve
from gemini_batch.store.ledger.run_options import RunOptions
from gemini_batch.testing import GeminiEmulator

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cli.conftest import Shell

WORDS = ("--model", "gemini-3.5-flash-lite", "--poll", "0.05")


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[GeminiEmulator]:
    with serve(tmp_path / "service") as running:
        emulator = GeminiEmulator(running.url, tmp_path / "service", running.emulator)
        for bucket in ("one", "two"):
            emulator.add_bucket(f"bucket-{bucket}")
        for name in ("GOOGLE_VERTEX_BASE_URL", "STORAGE_EMULATOR_HOST"):
            monkeypatch.setenv(name, running.url)
        monkeypatch.setenv("GEMINI_BATCH_BACKEND", "vertex")
        monkeypatch.setenv("GEMINI_BATCH_BUCKET", "gs://bucket-one")
        monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "p-1")
        yield emulator


def test_offline_work_stays_offline(shell: Shell, service: GeminiEmulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Vertex AI is not asked for a job of the offline emulator, which it does not know."""
    shell.write("in.jsonl", request())
    with monkeypatch.context() as before:
        before.delenv("GEMINI_BATCH_BACKEND")
        job = shell.run("create", "in.jsonl", "--offline", "--model", WORDS[1]).out.strip()

    done = shell.run("results", job)

    assert (done.code, json.loads(done.out)["verdict"]) == (0, "succeeded"), done.err


def test_a_row_is_shown_with_its_answer(shell: Shell, service: GeminiEmulator) -> None:
    shell.write("in.jsonl", request())
    assert shell.run("run", "in.jsonl", "-o", "out.jsonl", *WORDS).code == 0
    (run,) = (shell.home / "runs").glob("run-*")

    done = shell.run("show", run.name, "a")

    assert "offline answer" in done.out
    assert "was changed" not in done.out


def test_shards_take_the_options_of_vertex_ai(
    shell: Shell, service: GeminiEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = shell.write("in.jsonl", request()).read_bytes()
    facts = {"requests": 1, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    shell.write("shards", {"uri": "in.jsonl", **facts})
    for name in ("GEMINI_BATCH_BACKEND", "GEMINI_BATCH_BUCKET", "GOOGLE_CLOUD_PROJECT"):
        monkeypatch.delenv(name)

    place = ("--backend", "vertex", "--project", "p-1", "--location", "global", "--bucket", "gs://bucket-two")
    done = shell.run("run", "--shards", "shards", "-o", "answers", *place, *WORDS)

    assert (done.code, "1 succeeded" in done.err) == (0, True), done.err


def test_a_job_has_several_names(shell: Shell, service: GeminiEmulator) -> None:
    """Its number alone, and with the number of its project in place of the id."""
    shell.write("in.jsonl", request())
    job = shell.run("create", "in.jsonl", "--model", WORDS[1]).out.strip()
    number = job.rpartition("/")[2]

    for name in (number, job.replace("p-1", "123456")):
        assert job in shell.run("status", name, "--wait", "--poll", "0.05").err


@pytest.mark.parametrize(
    "name",
    [
        "batches/abc",
        *(f"projects/{place}/batchPredictionJobs/1" for place in ("p-9/locations/global", "p-1/locations/x")),
    ],
)
def test_a_job_of_another_place_is_not_asked_for(shell: Shell, service: GeminiEmulator, name: str) -> None:
    service.faults.arm(operation="batches.get", status=500, times=0)

    done = shell.run("status", name)

    assert (done.code, f"{name} cannot be at http" in done.err) == (2, True)
    assert service.faults.armed()[0]["seen"] == 0


def test_a_job_of_vertex_ai_is_not_asked_for_with_a_key(
    shell: Shell, service: GeminiEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GEMINI_BATCH_BACKEND")
    monkeypatch.setenv("GEMINI_API_KEY", "any")

    done = shell.run("status", "projects/p-1/locations/global/batchPredictionJobs/1")

    assert "GEMINI_BATCH_BACKEND=vertex GOOGLE_CLOUD_PROJECT=p-1 GOOGLE_CLOUD_LOCATION=global" in done.err


def test_another_bucket_between_upload_and_create(
    shell: Shell, service: GeminiEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job without its input would be accepted, and fail with all its requests."""
    shell.write("in.jsonl", request())
    service.faults.arm(operation="batches.create", status=403, body=_REFUSED)
    assert shell.run("run", "in.jsonl", "-o", "out.jsonl", *WORDS).code == 2
    monkeypatch.setenv("GEMINI_BATCH_BUCKET", "gs://bucket-two")

    done = shell.run("run", "in.jsonl", "-o", "out.jsonl", *WORDS)

    assert done.code == 0, done.err
    assert "Another bucket is named than before" in done.err
    assert service.accounting()["totals"]["jobs"] == 1


def test_another_bucket_and_a_dead_upload(
    shell: Shell, service: GeminiEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The session belongs to the bucket before; what arrived there is not what is asked for."""
    shell.write("in.jsonl", request())
    service.faults.arm(operation="storage.uploads.chunk", status=403, body=_REFUSED, times=0)
    assert shell.run("run", "in.jsonl", "-o", "out.jsonl", *WORDS).code == 2
    service.faults.clear()
    monkeypatch.setenv("GEMINI_BATCH_BUCKET", "gs://bucket-two")

    assert shell.run("run", "in.jsonl", "-o", "out.jsonl", *WORDS).code == 0
    assert [found["bucket"] for found in _objects(service, "gb-")] == ["bucket-two", "bucket-two"]


def test_clean_deletes_what_is_in_the_bucket_that_was_named_before(
    shell: Shell, service: GeminiEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell.write("in.jsonl", request())
    assert shell.run("run", "in.jsonl", "-o", "out.jsonl", *WORDS).code == 0
    (uploaded,) = (found for found in _objects(service, "gb-") if found["name"].count("/") == 1)
    monkeypatch.setenv("GEMINI_BATCH_BUCKET", "gs://bucket-two")

    done = shell.run("clean", "--json", "--yes")

    assert done.document["result"]["deleted"] == [f"gs://bucket-one/{uploaded['name']}"]
    assert uploaded["name"] not in [found["name"] for found in _objects(service, "gb-")]


def test_what_an_earlier_process_uploaded_is_compared_by_its_hash(shell: Shell, service: GeminiEmulator) -> None:
    """Its size alone does not say that the bytes arrived."""
    shell.write("in.jsonl", request())
    service.faults.arm(operation="storage.uploads.chunk", commit=True, drop="reset")
    service.faults.arm(operation="storage.uploads.query", status=403, body=_REFUSED)
    assert shell.run("run", "in.jsonl", "-o", "out.jsonl", *WORDS).code != 0
    (damaged,) = _objects(service, "gb-")
    service._world.cloud.objects.write("bucket-one", damaged["name"], iter([b"x" * damaged["size"]]))

    done = shell.run("run", "in.jsonl", "-o", "out.jsonl", *WORDS)

    assert done.code == 0, done.err
    assert "its MD5 hash" in done.err


@pytest.mark.parametrize("verb", [("run", "-o", "out.jsonl"), ("create",)])
def test_without_a_bucket_no_run_is_entered(
    shell: Shell, service: GeminiEmulator, monkeypatch: pytest.MonkeyPatch, verb: tuple[str, ...]
) -> None:
    monkeypatch.delenv("GEMINI_BATCH_BUCKET")
    shell.write("in.jsonl", request())

    done = shell.run(verb[0], "in.jsonl", *verb[1:], *WORDS[:2])

    assert (done.code, "--bucket gs://BUCKET" in done.err, "Started" in done.err) == (2, True, False)
    assert shell.run("list", "--json").document["result"] == []


def test_a_finished_run_needs_no_bucket(shell: Shell, service: GeminiEmulator, monkeypatch: pytest.MonkeyPatch) -> None:
    shell.write("in.jsonl", request())
    assert shell.run("run", "in.jsonl", "-o", "out.jsonl", *WORDS).code == 0
    monkeypatch.delenv("GEMINI_BATCH_BUCKET")

    assert shell.run("run", "in.jsonl", "-o", "out.jsonl", *WORDS).code == 0


def test_without_credentials_no_run_is_entered(
    shell: Shell, service: GeminiEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GOOGLE_VERTEX_BASE_URL")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(shell.folder / "none.json"))
    shell.write("in.jsonl", request())

    done = shell.run("run", "in.jsonl", "-o", "out.jsonl", *WORDS)

    assert (done.code, "holds no credentials" in done.err, "Started" in done.err) == (2, True, False)
    assert shell.run("list", "--json").document["result"] == []


def test_webhooks_are_refused_before_a_run_is_entered(shell: Shell, service: GeminiEmulator) -> None:
    shell.write("in.jsonl", request())

    done = shell.run("run", "in.jsonl", "-o", "out.jsonl", *WORDS, "--webhook-url", "https://example.com/hook")

    assert (done.code, "does not announce" in done.err, "Started" in done.err) == (2, True, False)
    assert shell.run("list", "--json").document["result"] == []


def test_without_a_key_the_way_to_vertex_ai_is_named(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    shell.write("in.jsonl", request())
    monkeypatch.setenv("GOOGLE_GENAI_USE_VERTEXAI", "true")

    done = shell.run("run", "in.jsonl", "-o", "out.jsonl")

    assert (done.code, "GOOGLE_GENAI_USE_VERTEXAI is set: add --backend vertex" in done.err) == (2, True)


def test_an_empty_address_of_the_gemini_api_is_no_matter_of_vertex_ai(
    shell: Shell, service: GeminiEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", "")
    shell.write("in.jsonl", request())
    assert "GOOGLE_GEMINI_BASE_URL" not in shell.run("run", "in.jsonl", "-o", "out.jsonl", *WORDS).err


@pytest.mark.parametrize("operation", ["batches.list", "batches.get"])
def test_a_page_of_a_proxy_names_the_addresses_of_vertex_ai(
    shell: Shell, service: GeminiEmulator, operation: str
) -> None:
    shell.write("in.jsonl", request())
    job = shell.run("create", "in.jsonl", "--model", WORDS[1]).out.strip()
    service.faults.arm(operation=operation, status=200, body="<html>", times=0)
    done = shell.run("status", job) if operation == "batches.get" else shell.run("list", "--remote")
    assert ("GOOGLE_VERTEX_BASE_URL" in done.err, "GOOGLE_GEMINI_BASE_URL" in done.err) == (True, False), done.err


def test_a_job_without_labels_gets_advice_that_helps(shell: Shell, service: GeminiEmulator) -> None:
    """Neither adopting it nor paying again joins its answers."""
    lines = b"".join(b'{"request": {"contents": [{"role": "user", "parts": [{"text": "%d"}]}]}}\n' % n for n in (1, 2))
    service._world.cloud.objects.write("bucket-one", "x/in.jsonl", iter([lines]))
    asked = {
        "displayName": "made elsewhere",
        "model": "publishers/google/models/gemini-3.5-flash-lite",
        "inputConfig": {"instancesFormat": "jsonl", "gcsSource": {"uris": ["gs://bucket-one/x/in.jsonl"]}},
        "outputConfig": {"predictionsFormat": "jsonl", "gcsDestination": {"outputUriPrefix": "gs://bucket-one/x"}},
    }
    made = httpx2.post(
        f"{service.url}/v1beta1/projects/p-1/locations/global/batchPredictionJobs",
        json=asked,
        headers={"authorization": "Bearer x"},
    )
    job = made.json()["name"]
    assert shell.run("status", job, "--wait", "--poll", "0.05").code == 0
    shell.write("in.jsonl", request("a"), request("b"))

    before = shell.run("results", job, "-o", "out.jsonl")
    adopted = shell.run("adopt", job, "in.jsonl")
    after = shell.run("results", adopted.out.strip(), "-o", "out.jsonl")

    for done in (before, after):
        assert "has its request next to its answer" in done.err, done.err
    for done in (before, adopted, after):
        assert not any(f"gemini-batch {verb}" in done.err for verb in ("adopt", "retry", "run"))


def _objects(service: GeminiEmulator, prefix: str) -> list[Any]:
    """The objects of all buckets in our folder whose names begin so."""
    sql = "SELECT * FROM objects WHERE name LIKE ?"
    return list(service._world.store.rows(sql, (f"gemini-batch/{prefix}%",)))


def test_a_refused_token_is_not_called_a_key(shell: Shell, service: GeminiEmulator) -> None:
    shell.write("in.jsonl", request())
    service.faults.arm(operation="batches.create", status=401)

    done = shell.run("run", "in.jsonl", "-o", "out.jsonl", *WORDS)

    assert "gcloud auth application-default login" in done.err
    assert "GEMINI_API_KEY" not in done.err


def test_room_for_requests_is_never_negative() -> None:
    """More requests than a job may have leave room for the most that it may have."""
    limits = _limits(WORDS[1], RunOptions(max_requests_per_job=20_000_000), vertex=True)
    assert (limits.requests, limits.bytes > 900_000_000) == (200_000, True)


_REFUSED = '{"error": {"code": 403, "message": "Permission denied.", "status": "PERMISSION_DENIED"}}'
