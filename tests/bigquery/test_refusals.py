"""What is refused before anything is sent, and what is said of errors."""

from __future__ import annotations

import hashlib
import json
import sys
from typing import TYPE_CHECKING, Any

import pytest

from gemini_batch import GeminiBatch, ServiceError, UsageError
from gemini_batch.stopping import Stop, Stopped

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TABLE = "bq://a-project.shop.products"
PROMPT: dict[str, Any] = {"prompt": "Describe {{ name }}", "key": "sku"}


@pytest.fixture
def batch(monkeypatch: pytest.MonkeyPatch) -> Iterator[GeminiBatch]:
    monkeypatch.delenv("BIGQUERY_EMULATOR_HOST", raising=False)
    with GeminiBatch(offline=True) as found:
        yield found


def _refused(call: Any, *given: Any, **more: Any) -> UsageError:
    with pytest.raises(UsageError) as refused:
        call(*given, **more)
    assert refused.value.exit_code == 2
    assert refused.value.next
    return refused.value


def test_a_key_has_to_be_named(batch: GeminiBatch, tmp_path: Path) -> None:
    for verb, more in (
        (batch.run, {}),
        (batch.create, {}),
        (batch.estimate, {}),
        (batch.prepare, {"output": "r.jsonl"}),
    ):
        refused = _refused(verb, TABLE, prompt="{{ name }}", **more)
        assert (refused.reason_code, refused.field, refused.file) == ("no_key", "--key", TABLE)
    assert _refused(batch.run, TABLE).reason_code == "no_prompt"
    (tmp_path / "ask.toml").write_text('prompt = "{{ name }}"\nkey = "sku"\n')
    monkey = pytest.MonkeyPatch()
    monkey.setitem(sys.modules, "google.cloud.bigquery", None)
    assert _refused(batch.run, TABLE, request_file=tmp_path / "ask.toml").reason_code == "missing_extra"
    monkey.undo()


@pytest.mark.parametrize("module", ["google.cloud.bigquery", "pyarrow.parquet"])
def test_the_library_is_missing(batch: GeminiBatch, monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    pytest.importorskip("google.cloud.bigquery") if module == "pyarrow.parquet" else None
    monkeypatch.setitem(sys.modules, module, None)
    refused = _refused(batch.run, TABLE, **PROMPT)
    assert refused.reason_code == "missing_extra"
    assert "gemini-batch[bigquery]" in str(refused.next)
    assert batch.list_jobs() == []


def test_a_wrong_address(batch: GeminiBatch) -> None:
    for what, output in (("bq://a.b", None), ("words.csv", "bq://a.b")):
        refused = _refused(batch.run, what, output=output, **PROMPT)
        assert (refused.reason_code, refused.field) == ("bad_address", "--output" if output else None)


def test_where_a_table_cannot_stand(batch: GeminiBatch, tmp_path: Path) -> None:
    """For request files, shards, their manifest and their results, and what is no results."""
    (tmp_path / "t.csv").write_text("sku,name\na,elm\n")
    line = {"key": "a", "request": {"contents": [{"parts": [{"text": "x"}]}]}}
    (tmp_path / "r.jsonl").write_text(json.dumps(line) + "\n")
    size, sha256 = (
        (tmp_path / "r.jsonl").stat().st_size,
        hashlib.sha256((tmp_path / "r.jsonl").read_bytes()).hexdigest(),
    )
    for name, uri in (("manifest.jsonl", "r.jsonl"), ("tables.jsonl", TABLE)):
        shard = {"uri": uri, "requests": 1, "bytes": size, "sha256": sha256}
        (tmp_path / name).write_text(json.dumps(shard) + "\n")
    for refused in (
        _refused(batch.validate, TABLE),
        _refused(batch.validate, tmp_path / "r.jsonl", fix=TABLE),
        _refused(batch.prepare, tmp_path / "t.csv", output=TABLE, **PROMPT),
        _refused(batch.spend_report, output=TABLE),
        _refused(batch.run_shards, TABLE, output=tmp_path / "answers"),
        _refused(batch.run_shards, tmp_path / "manifest.jsonl", output=TABLE),
    ):
        assert refused.reason_code == "bad_address", refused.as_json()
        assert "no file" in str(refused)
    assert "is no file" in str(_refused(batch.run_shards, tmp_path / "tables.jsonl", output=tmp_path / "answers"))
    assert _refused(batch.results, "run-x", output_dir=TABLE).reason_code == "bad_address"


@pytest.mark.bigquery
def test_there_are_no_credentials(batch: GeminiBatch, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("google.cloud.bigquery")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    assert _refused(batch.run, TABLE, **PROMPT).reason_code == "no_credentials"


@pytest.mark.bigquery
@pytest.mark.parametrize(
    ("status", "reason", "kind", "code"),
    [
        (403, "accessDenied", UsageError, "object_refused"),
        (401, "authError", UsageError, "object_refused"),
        (403, "rateLimitExceeded", ServiceError, "object_store"),
        (404, "notFound", UsageError, "file_not_found"),
        (400, "invalid", UsageError, "object_store"),
        (503, "backendError", ServiceError, "object_store"),
    ],
)
def test_what_bigquery_refuses(status: int, reason: str, kind: type[Exception], code: str) -> None:
    exceptions = pytest.importorskip("google.api_core.exceptions")
    from gemini_batch.objects.bigquery.policy import parse_table
    from gemini_batch.objects.bigquery.service import explained

    pytest.importorskip("google.resumable_media")
    error = exceptions.from_http_status(status, "said\x1b[2J.", errors=[{"reason": reason}])
    with pytest.raises(kind) as found, explained(parse_table(TABLE)):
        raise error
    assert (found.value.reason_code, found.value.file) == (code, TABLE)  # type: ignore[attr-defined]
    assert "\x1b" not in str(found.value)


@pytest.mark.bigquery
def test_credentials_that_are_no_longer_good() -> None:
    exceptions = pytest.importorskip("google.auth.exceptions")
    pytest.importorskip("google.cloud.bigquery")
    from gemini_batch.objects.bigquery.policy import parse_table
    from gemini_batch.objects.bigquery.service import explained

    with pytest.raises(ServiceError) as found, explained(parse_table(TABLE)):
        raise exceptions.RefreshError("a SECRET")
    assert found.value.reason_code == "credentials_refused"
    assert "SECRET" not in str(found.value)
    with pytest.raises(KeyError), explained(parse_table(TABLE)):
        raise KeyError


@pytest.mark.bigquery
@pytest.mark.parametrize(("cause", "said"), [("ServiceUnavailable", "503 busy"), (None, "(ConnectionError)")])
def test_why_there_was_no_answer_for_long(cause: str | None, said: str) -> None:
    exceptions = pytest.importorskip("google.api_core.exceptions")
    pytest.importorskip("google.cloud.bigquery")
    from gemini_batch.objects.bigquery.policy import parse_table
    from gemini_batch.objects.bigquery.service import explained

    why = ConnectionError("refused") if cause is None else getattr(exceptions, cause)("busy")
    with pytest.raises(ServiceError) as found, explained(parse_table(TABLE)):
        raise exceptions.RetryError("Timeout exceeded", why)
    assert said in str(found.value)


@pytest.mark.bigquery
def test_it_stops_while_bigquery_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls are repeated for minutes; a command that is told to stop does not wait for that."""
    pytest.importorskip("google.cloud.bigquery")
    from google.api_core.retry import retry_unary

    from gemini_batch.objects.bigquery.policy import parse_table
    from gemini_batch.objects.bigquery.service import BigQuery

    monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", "http://127.0.0.1:9")
    stop, pauses = Stop(), []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        assert len(pauses) < 5
        if len(pauses) == 3:
            stop.tell()

    monkeypatch.setattr(retry_unary.time, "sleep", pause)
    with stop.active(), pytest.raises(Stopped):
        BigQuery(lambda: None).look(parse_table(TABLE))
    assert len(pauses) == 3
    assert max(pauses) <= 10


@pytest.mark.bigquery
def test_bigquery_is_gone_while_it_loads() -> None:
    """That ends the wait: it does not go on forever."""
    pytest.importorskip("google.cloud.bigquery")
    from gemini_batch.objects.bigquery.policy import parse_table
    from gemini_batch.objects.bigquery.service import BigQuery

    class Job:
        asked = 0

        def done(self, *, reload: bool = True, **_: Any) -> bool:
            self.asked += 1
            assert self.asked < 5
            if reload and self.asked > 1:
                raise ConnectionError
            return False

        def result(self, **_: Any) -> None:
            raise TimeoutError

        exception = result

    class Client:
        def get_job(self, *_: Any, **__: Any) -> Job:
            return Job()

    service = BigQuery(lambda: None)
    service.__dict__["_client"] = Client()
    with pytest.raises(ServiceError, match="did not answer"):
        service.wait(parse_table(TABLE), "job", None)
