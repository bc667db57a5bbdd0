"""Files that requests refer to are wrong, right, or cannot be seen from here: for `validate` and for the emulator."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from emulator.conftest import Api
from gemini_batch import GeminiBatch, Settings, cli
from gemini_batch.emulator.http.server import serve
from gemini_batch.events import Notice
from gemini_batch.validation.file_uri import mistake_of

if TYPE_CHECKING:
    from gemini_batch.events import Event

GOOGLE = "https://generativelanguage.googleapis.com"
CASES = Path(__file__).parents[4] / "shared" / "cases"

#: What no service can read, with a word of what is said about it.
WRONG = {
    "scans/p1.pdf": "a file name or a path",
    "invoice.pdf": "a file name or a path",
    "files": "a file name or a path",
    "files/": "a file name or a path",
    "files/a/b": "a file name or a path",
    "files/a b": "a file name or a path",
    "generativelanguage.googleapis.com/v1beta/files/abc": "a file name or a path",
    "./cat.png": "on this machine",
    "../files/cat.png": "on this machine",
    "/home/me/files/cat.png": "on this machine",
    "~/cat.png": "on this machine",
    "file:///home/me/cat.png": "on this machine",
    "FILE:cat.png": "on this machine",
    "C:\\scans\\p1.pdf": "on this machine",
    "c:/scans/files/p1.pdf": "on this machine",
    "\\\\server\\files\\p1.pdf": "on this machine",
    "s3://b/x.pdf": "`s3:`",
    "s3://b/files/x": "`s3:`",
    "az://b/x.pdf": "`az:`",
    "ftp://example.com/v1/files/x": "`ftp:`",
    "abfss://c@a.dfs.core.windows.net/x": "`abfss:`",
    "data:application/pdf;base64,aGk=": "data URL",
    "DATA:text/plain,files/x": "data URL",
    "blob:https://example.com/1": "`blob:`",
    "https://": "not a valid address",
    "https:///files/abc": "not a valid address",
    "https://exa mple.com/x": "not a valid address",
    "https://[::1/x": "not a valid address",
    "https://drive.google.com/file/d/1abc/view": "page of Google Drive",
    "https://drive.google.com/open?id=1abc": "page of Google Drive",
    "https://docs.google.com/document/d/1abc/edit": "page of Google Drive",
    "https://docs.google.com/spreadsheets/d/1abc/edit": "page of Google Drive",
    f"{GOOGLE}/v1beta/": "not the URI of a file",
    f"{GOOGLE}/files/abc": "not the URI of a file",
    f"{GOOGLE}/v1beta/files/": "not the URI of a file",
    f"{GOOGLE}/v1beta/file/abc": "not the URI of a file",
    f"{GOOGLE}/v1beta/files/abc/more": "not the URI of a file",
    f"{GOOGLE}/v1beta/models/gemini-3.8-flash": "not the URI of a file",
}
#: What only the real service can resolve. For the emulator as a service, the files of the Files API do not exist.
UNSEEN_FILES = [
    "files/abc123def456",
    f"{GOOGLE}/v1beta/files/abc123def456",
    f"{GOOGLE}/v1/files/abc123def456",
    f"{GOOGLE}/v1beta/files/abc123def456:download?alt=media",
    "https://GenerativeLanguage.googleapis.com/v1beta/files/abc",
    "http://127.0.0.1:8080/v1beta/files/abc",
]
UNSEEN_ELSEWHERE = [
    "gs://bucket/scans/p1.pdf",
    "https://example.com/files/p1.pdf",
    "https://example.com/a.pdf?X-Amz-Signature=1",
    "https://bucket.s3.amazonaws.com/files/x?X-Amz-Signature=1",
    "https://www.youtube.com/watch?v=abc",
    "https://youtu.be/abc",
    "https://drive.google.com/uc?export=download&id=1abc",
    "http://example.com/a.pdf",
]


def asked(key: str, *uris: str) -> dict[str, Any]:
    parts = [{"fileData": {"fileUri": uri, "mimeType": "application/pdf"}} for uri in uris]
    return {"key": key, "request": {"contents": [{"parts": [*parts, {"text": "?"}]}]}}


def results(api: Api, uris: list[str]) -> dict[str, int | None]:
    """The code of each URI's row; None for an answer."""
    lines = b"\n".join(json.dumps(asked(uri, uri)).encode() for uri in uris)
    rows = api.results(api.begin(lines))
    return {row["key"]: row["error"]["code"] if "error" in row else None for row in rows}


@pytest.mark.parametrize(("uri", "words"), WRONG.items())
def test_a_wrong_uri_is_a_finding(uri: str, words: str) -> None:
    mistake = mistake_of(uri)
    assert mistake is not None
    assert words in mistake[0]
    assert mistake[1]


@pytest.mark.parametrize("uri", UNSEEN_FILES + UNSEEN_ELSEWHERE)
def test_a_uri_that_may_be_right_is_none(uri: str) -> None:
    assert mistake_of(uri) is None


@pytest.mark.parametrize("rehearsal", [False, True])
def test_rows_with_files(rehearsal: bool, tmp_path: Path) -> None:
    """Wrong ones fail; what is here does not; what is not here fails at a service, and is answered in a rehearsal."""
    with (
        serve(tmp_path, rehearsal=rehearsal) as running,
        httpx2.Client(base_url=running.url, headers={"x-goog-api-key": "k"}, timeout=30) as http,
    ):
        api = Api(http, running.emulator)
        expired = api.upload(b"png", mime_type="image/png")
        running.emulator.clock.advance(49 * 3600)
        there, deleted = api.upload(b"png", mime_type="image/png"), api.upload(b"png", mime_type="image/png")
        assert http.delete(f"/v1beta/{deleted}").is_success
        here = [there, f"{GOOGLE}/v1beta/{there}", f"{running.url}/v1/{there}", api.get(there)["uri"]]
        gone = [expired, f"{GOOGLE}/v1beta/{expired}", f"{GOOGLE}/v1beta/{deleted}"]
        found = results(api, [*WRONG, *here, *gone, *UNSEEN_FILES, *UNSEEN_ELSEWHERE])
    assert {uri: found[uri] for uri in WRONG} == dict.fromkeys(WRONG, 3)
    assert {uri: found[uri] for uri in here + UNSEEN_ELSEWHERE} == dict.fromkeys(here + UNSEEN_ELSEWHERE)
    assert {uri: found[uri] for uri in gone} == dict.fromkeys(gone, 3)
    assert {uri: found[uri] for uri in UNSEEN_FILES} == dict.fromkeys(UNSEEN_FILES, None if rehearsal else 3)


def rehearse(tmp_path: Path, rows: list[dict[str, Any]]) -> tuple[list[str], Any]:
    """A whole rehearsal: what it says about files, and its results."""
    (tmp_path / "r.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    said: list[Event] = []
    with GeminiBatch(settings=Settings(home=tmp_path / "home", offline=True), on_event=said.append) as batch:
        created = batch.create(tmp_path / "r.jsonl")
        batch.create(tmp_path / "r.jsonl")
        assert created.job is not None
        batch.status(created.job, wait=True)
        found = batch.results(created.job)
        found = batch.run(tmp_path / "r.jsonl")
    return [event.message for event in said if isinstance(event, Notice) and "cannot be seen" in event.message], found


def test_what_cannot_be_seen_is_said_once(tmp_path: Path) -> None:
    """In total, for all its rows; they do not fail, and nothing proposes to send them again."""
    rows = [asked(str(number), uri) for number, uri in enumerate(UNSEEN_FILES + UNSEEN_ELSEWHERE)]
    rows += [asked("two", *UNSEEN_FILES), {"key": "none", "request": {"contents": [{"parts": [{"text": "fileUri"}]}]}}]
    (said,), found = rehearse(tmp_path, rows)
    assert said.startswith(
        f"{len(rows) - 1} requests refer to files or caches that cannot be seen offline (the first: key '0', "
    )
    assert found.summary.all_succeeded
    assert "retry" not in str(found.summary.next)


def test_a_signature_is_not_shown(tmp_path: Path) -> None:
    (said,), _ = rehearse(tmp_path, [asked("a", "https://example.com/a.pdf?X-Amz-Signature=5ecret")])
    assert "https://example.com/a.pdf)" in said
    assert "5ecret" not in said
    assert said.startswith("1 request refers to files or caches")


def test_what_was_uploaded_offline_is_right(tmp_path: Path) -> None:
    """Nothing is said of it. Once it has expired, its row fails as it would at the service."""
    with (
        serve(tmp_path / "home" / "offline" / "emulator") as running,
        httpx2.Client(base_url=running.url, headers={"x-goog-api-key": "offline"}) as http,
    ):
        name = Api(http, running.emulator).upload(b"png", mime_type="image/png")
    said, found = rehearse(tmp_path, [asked("name", name), asked("uri", f"{GOOGLE}/v1beta/{name}")])
    assert said == []
    assert found.summary.all_succeeded
    with serve(tmp_path / "home" / "offline" / "emulator") as running:
        running.emulator.clock.advance(49 * 3600)
    _, found = rehearse(tmp_path, [asked("late", f"{GOOGLE}/v1beta/{name}")])
    assert found.summary.verdicts == {"failed": 1}


@pytest.mark.skipif(not CASES.is_dir(), reason="the shared cases are not at hand")
def test_cases_from_the_field(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GEMINI_BATCH_OFFLINE", "1")
    wrong, unseen = str(CASES / "local-uri.jsonl"), str(CASES / "uploaded-offline.jsonl")
    assert cli.execute(["validate", wrong]) == 1
    assert cli.execute(["run", wrong, "-o", "wrong.jsonl"]) == 2
    assert not Path("wrong.jsonl").exists()
    assert cli.execute(["validate", unseen]) == 0
    capsys.readouterr()
    assert cli.execute(["run", unseen, "-o", "right.jsonl"]) == 0
    _, err = capsys.readouterr()
    assert err.count("cannot be seen offline") == 1
    assert "retry" not in err
