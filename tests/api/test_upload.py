"""The resumable upload: every byte arrives once in its place, whatever breaks, and no key goes with the bytes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.script import BASE, KEY, Endless, Script, Waits, ask, error, reset
from gemini_batch.api import files
from gemini_batch.api.files import CHUNK, GRANULARITY, PATIENCE, SessionLost
from gemini_batch.backend import GeminiService
from gemini_batch.errors import ApiError, NetworkError, ServiceError, StateError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gemini_batch.api.client import Client
    from gemini_batch.wire import RemoteFile

URL = f"{BASE}/upload/v1beta/files?upload_id=u&upload_protocol=resumable"
#: What can happen to one chunk. ``half``: some of its bytes arrive; ``forgets``: it takes them back afterwards.
Fault = Literal["fine", "lost", "kept", "half", "503", "429", "no status", "HTML", "forgets"]
FAULTS: tuple[Fault, ...] = ("fine", "lost", "kept", "half", "503", "429", "no status", "HTML", "forgets")


@dataclass
class Session:
    """The service's side of one upload. ``faults``: what happens to each chunk in turn; afterwards all goes well."""

    faults: list[Fault] = field(default_factory=list)
    stored: bytearray = field(default_factory=bytearray)
    final: bool = False
    arrived: int = 0
    chunks: list[tuple[int, int, str]] = field(default_factory=list)
    requests: list[httpx2.Request] = field(default_factory=list)

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        """Answer one request of the upload."""
        self.requests.append(request)
        assert len(self.requests) < 500, "this upload does not end"
        command = request.headers["x-goog-upload-command"]
        if command == "query":
            return self.answer(received=True)
        data, offset = request.content, int(request.headers["x-goog-upload-offset"])
        self.chunks.append((offset, len(data), command))
        fault = self.faults.pop(0) if self.faults else "fine"
        if fault == "503":
            return error(503, "UNAVAILABLE")
        if fault == "429":
            return error(429, "RESOURCE_EXHAUSTED")
        if fault == "lost":
            raise reset()
        assert not self.final, "bytes after the end"
        assert offset == len(self.stored), "bytes in the wrong place"
        taken = data[: len(data) // 2] if fault == "half" else data
        self.stored += taken
        self.arrived += len(taken)
        self.final = "finalize" in command and len(taken) == len(data)
        if fault == "forgets" and not self.final:
            del self.stored[:]
            raise reset()
        match fault:
            case "kept" | "half" | "forgets":
                raise httpx2.ReadTimeout("")
            case "no status":
                return httpx2.Response(200)
            case "HTML":
                return httpx2.Response(502, content=b"<html>Bad Gateway</html>")
            case _:
                return self.answer()

    def answer(self, *, received: bool = False) -> httpx2.Response:
        headers = {"X-Goog-Upload-Status": "final" if self.final else "active"}
        if received:
            headers["X-Goog-Upload-Size-Received"] = str(len(self.stored))
        body = {"file": {"name": "files/f", "sizeBytes": str(len(self.stored))}} if self.final else None
        return httpx2.Response(200, headers=headers, json=body)


def send(
    session: Any, content: bytes, *, chunk: int = 10, offset: int = 0, waits: Waits | None = None
) -> tuple[RemoteFile | None, list[int]]:
    """Upload ``content`` from ``offset`` on; the file as described, and the progress that was told."""
    told: list[int] = []

    def read_at(start: int, length: int) -> bytes:
        return content[start : start + length]

    async def run(client: Client) -> RemoteFile | None:
        return await files.send_upload(
            client, URL, read_at, size=len(content), offset=offset, chunk=chunk, progress=told.append
        )

    return ask(session, run, waits=waits), told


TEXT = bytes(range(97, 122))  # 25 bytes: two chunks of ten and five


def test_chunks_in_order_the_last_one_finalizes() -> None:
    session = Session()
    described, told = send(session, TEXT)
    assert described is not None
    assert described.name == "files/f"
    assert session.chunks == [(0, 10, "upload"), (10, 10, "upload"), (20, 5, "upload, finalize")]
    assert session.stored == TEXT
    assert told == [10, 20]


@pytest.mark.parametrize(
    ("size", "chunks"),
    [
        (0, [(0, 0, "upload, finalize")]),
        (1, [(0, 1, "upload, finalize")]),
        (9, [(0, 9, "upload, finalize")]),
        (10, [(0, 10, "upload, finalize")]),
        (11, [(0, 10, "upload"), (10, 1, "upload, finalize")]),
        (20, [(0, 10, "upload"), (10, 10, "upload, finalize")]),
    ],
)
def test_chunk_boundaries(size: int, chunks: list[tuple[int, int, str]]) -> None:
    session = Session()
    described, _ = send(session, b"x" * size)
    assert described is not None
    assert session.chunks == chunks


def test_chunk_size_is_what_the_service_grants() -> None:
    assert CHUNK % GRANULARITY == 0


def test_chunks_and_questions_carry_no_key() -> None:
    session = Session(["lost"])
    send(session, TEXT)
    assert {request.headers["x-goog-upload-command"] for request in session.requests} == {
        "upload",
        "query",
        "upload, finalize",
    }
    assert not any("x-goog-api-key" in request.headers for request in session.requests)
    assert not any(KEY in str(request.url) for request in session.requests)


@pytest.mark.parametrize(
    ("fault", "arrived", "second"),
    [
        ("lost", 25, (10, 10, "upload")),  # cut before its bytes were stored: resent
        ("kept", 25, (20, 5, "upload, finalize")),  # cut after: not resent
        ("half", 25, (15, 10, "upload, finalize")),  # cut in the middle: the rest
        ("503", 25, (10, 10, "upload")),
        ("no status", 25, (20, 5, "upload, finalize")),
        ("HTML", 25, (20, 5, "upload, finalize")),
    ],
)
def test_broken_chunk_is_asked_about_and_gone_on_from_there(
    fault: Fault, arrived: int, second: tuple[int, int, str]
) -> None:
    session, waits = Session(["fine", fault]), Waits()
    described, _ = send(session, TEXT, waits=waits)
    assert described is not None
    assert session.stored == TEXT
    assert session.arrived == arrived
    assert session.chunks[2] == second
    commands = [request.headers["x-goog-upload-command"] for request in session.requests]
    assert commands[2] == "query"
    assert waits.seconds == [1.0]


@pytest.mark.parametrize("fault", ["kept", "no status", "HTML"])
def test_lost_answer_to_the_last_chunk_is_an_upload_that_is_complete(fault: Fault) -> None:
    session = Session(["fine", "fine", fault])
    assert send(session, TEXT) == (None, [10, 20])
    assert session.stored == TEXT
    assert session.final
    assert session.arrived == len(TEXT)


@pytest.mark.parametrize("body", [b"", b"<html>", b"{}", b'{"file": 5}', b'{"file": null}'])
def test_last_answer_without_a_description_is_an_upload_that_is_complete(body: bytes) -> None:
    script = Script(httpx2.Response(200, headers={"x-goog-upload-status": "final"}, content=body))
    assert send(script, b"abc")[0] is None


def test_all_bytes_there_but_not_finalized_is_finalized_with_none() -> None:
    session = Session(stored=bytearray(TEXT))
    described, _ = send(session, TEXT, offset=25)
    assert described is not None
    assert session.chunks == [(25, 0, "upload, finalize")]


def test_upload_of_an_earlier_process_goes_on_where_it_stood() -> None:
    session = Session(stored=bytearray(TEXT[:13]))
    assert ask(session, lambda client: files.query_upload(client, URL)) == ("active", 13)
    described, told = send(session, TEXT, offset=13)
    assert described is not None
    assert session.stored == TEXT
    assert session.arrived == 12
    assert told == [23]


@pytest.mark.parametrize("status", [404, 410])
def test_session_that_is_gone_is_said(status: int) -> None:
    script, waits = Script(error(status)), Waits()
    with pytest.raises(SessionLost):
        send(script, TEXT, waits=waits)
    assert waits.seconds == []


@pytest.mark.parametrize("status", [400, 404, 410])
def test_session_that_is_gone_when_asked_about_is_said(status: int) -> None:
    with pytest.raises(SessionLost):
        send(Script(reset(), error(status)), TEXT)
    with pytest.raises(SessionLost):
        ask(Script(error(status)), lambda client: files.query_upload(client, URL))


@pytest.mark.parametrize("status", ["cancelled", "unknown word"])
def test_session_that_ended_otherwise_is_lost(status: str) -> None:
    ended = httpx2.Response(200, headers={"x-goog-upload-status": status})
    with pytest.raises(SessionLost, match=status):
        send(Script(ended, ended), TEXT)


@pytest.mark.parametrize("status", [400, 401, 403])
def test_refused_chunk_is_not_repeated(status: int) -> None:
    with pytest.raises(ApiError):
        send(Script(error(status)), TEXT)


@pytest.mark.parametrize(
    ("received", "offset"), [("13", 13), ("0", 0), ("", 0), ("many", 0), ("-1", 0), ("9" * 5000, 0), ("²", 0)]
)
def test_answer_to_the_question_is_read_with_care(received: str, offset: int) -> None:
    headers = [(b"x-goog-upload-status", b"active"), (b"x-goog-upload-size-received", received.encode("latin-1"))]
    script = Script(httpx2.Response(200, headers=headers))
    assert ask(script, lambda client: files.query_upload(client, URL)) == ("active", offset)


def test_service_that_claims_more_than_there_is_gets_no_bytes_from_beyond() -> None:
    claim = httpx2.Response(200, headers={"x-goog-upload-status": "active", "x-goog-upload-size-received": "999"})
    end = httpx2.Response(200, headers={"x-goog-upload-status": "final"}, json={"file": {"name": "files/f"}})
    script = Script(reset(), claim, end)
    send(script, TEXT)
    assert script.requests[-1].content == b""
    assert script.requests[-1].headers["x-goog-upload-offset"] == "25"


def test_upload_that_ends_before_its_last_byte_is_not_taken_for_the_file() -> None:
    early = httpx2.Response(200, headers={"x-goog-upload-status": "final"}, json={"file": {"name": "files/f"}})
    # The session is over; what it holds is for the caller to look at, under the file's own name.
    assert send(Script(early, early), TEXT)[0] is None


# Patience ---------------------------------------------------------------------------------------------------------


def test_no_progress_many_times_ends_the_upload() -> None:
    session, waits = Session(["lost"] * 50), Waits()
    with pytest.raises(NetworkError):
        send(session, TEXT, waits=waits)
    assert len(session.chunks) == PATIENCE
    assert waits.seconds == [1.0, 2.0, 4.0, 8.0, 16.0]


def test_progress_starts_the_count_of_failures_again() -> None:
    storm: list[Fault] = ["lost"] * (PATIENCE - 1)
    faults: list[Fault] = [*storm, "fine", *storm, "fine", *storm]
    session, waits = Session(faults), Waits()
    described, _ = send(session, TEXT, waits=waits)
    assert described is not None
    assert session.stored == TEXT
    assert waits.seconds == [1.0, 2.0, 4.0, 8.0, 16.0] * 3


def test_bytes_stored_by_broken_chunks_are_progress_too() -> None:
    content = b"x" * 5000
    session, waits = Session(["half"] * 9), Waits()
    described, _ = send(session, content, chunk=512, waits=waits)
    assert described is not None
    assert waits.seconds == [1.0] * 9


def test_service_that_forgets_what_it_took_is_not_fed_for_ever() -> None:
    session = Session(["fine", "forgets"] * 100)
    with pytest.raises(ServiceError):
        send(session, TEXT)
    assert len(session.chunks) < 4 * PATIENCE


def test_asked_wait_is_honoured_between_chunks() -> None:
    slow = error(429, details=[{"retryDelay": "38s"}])
    state = httpx2.Response(200, headers={"x-goog-upload-status": "active", "x-goog-upload-size-received": "0"})
    end = httpx2.Response(200, headers={"x-goog-upload-status": "final"})
    waits = Waits()
    send(Script(slow, state, end), b"abc", waits=waits)
    assert waits.seconds == [38.0]


@pytest.mark.parametrize("held", [0, 5, 10, 20, 24])
def test_file_that_became_shorter_ends_the_upload_at_once(held: int) -> None:
    session = Session()

    async def run(client: Client) -> RemoteFile | None:
        return await files.send_upload(
            client, URL, lambda start, length: TEXT[:held][start : start + length], size=len(TEXT), chunk=10
        )

    with pytest.raises(StateError, match=f"{held} of 25 bytes"):
        ask(session, run)
    assert not session.final


@settings(deadline=None)
@given(
    content=st.binary(max_size=60),
    chunk=st.integers(min_value=1, max_value=25),
    faults=st.lists(st.sampled_from(FAULTS), max_size=12),
    start=st.integers(min_value=0, max_value=60),
)
def test_any_weather_ends_with_the_whole_file_or_an_error(
    content: bytes, chunk: int, faults: Sequence[Fault], start: int
) -> None:
    held = min(start, len(content))
    session = Session(list(faults), stored=bytearray(content[:held]))
    try:
        send(session, content, chunk=chunk, offset=held)
    except ServiceError:
        assert len(session.faults) < len(faults)
    else:
        assert session.final
        assert bytes(session.stored) == content


# Starting ---------------------------------------------------------------------------------------------------------


def start(script: Script) -> str:
    return ask(script, lambda client: GeminiService(client).start_upload(name="f", display_name="d", size=1))


def opened(url: str = URL) -> httpx2.Response:
    return httpx2.Response(200, headers={"X-Goog-Upload-URL": url, "X-Goog-Upload-Status": "active"})


def test_upload_url_of_another_host_is_brought_home() -> None:
    assert start(Script(opened("https://elsewhere.example/upload/v1beta/files?upload_id=u"))) == (
        f"{BASE}/upload/v1beta/files?upload_id=u"
    )


@pytest.mark.parametrize("url", [None, "", "https://[bad/upload", "https://elsewhere.example", "?upload_id=u"])
def test_answer_without_an_upload_url_is_an_error(url: str | None) -> None:
    answer = httpx2.Response(200) if url is None else opened(url)
    with pytest.raises(ServiceError, match="no upload session") as caught:
        start(Script(answer))
    assert caught.value.reason_code == "upload_refused"


def test_refused_mime_type_is_spelled_otherwise() -> None:
    def refusal() -> httpx2.Response:
        return error(400, "INVALID_ARGUMENT", "Unsupported MIME type: application/jsonl")

    script = Script(refusal(), refusal(), opened())
    assert start(script) == URL
    assert script.sent("x-goog-upload-header-content-type") == list(files.MIME_TYPES)
    with pytest.raises(ApiError, match="Unsupported MIME type"):
        start(Script(refusal(), refusal(), refusal()))


@pytest.mark.parametrize("refusal", [error(400, "INVALID_ARGUMENT", "Bad name."), error(403, "X", "mime")])
def test_other_refusals_are_not_answered_with_another_spelling(refusal: httpx2.Response) -> None:
    with pytest.raises(ApiError):
        start(Script(refusal))


def test_nobody_repeats_for_ever() -> None:
    script = Endless(lambda _: error(503))
    with pytest.raises(ApiError):
        send(script, TEXT)
    assert len(script.requests) <= PATIENCE + 1
