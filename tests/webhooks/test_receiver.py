"""The receiver over sockets: what it answers, what it hands on, and what it never does."""

from __future__ import annotations

import http.client
import itertools
import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from gemini_batch.errors import UsageError
from gemini_batch.webhooks.keys import PATH, Keys, NoKeysError
from gemini_batch.webhooks.receiver import Receiver, Verifier
from webhooks.conftest import BODY, NOW, Sender, Sent, public, raw

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gemini_batch.webhooks.signatures import Delivery, Reason


class Listening:
    """A receiver in a thread, and what came of it."""

    def __init__(self, verifier: Verifier) -> None:
        self.arrived: SimpleQueue[Delivery] = SimpleQueue()
        self.refused: SimpleQueue[Reason] = SimpleQueue()
        self.receiver = Receiver(verifier, port=0, on_delivery=self.arrived.put, on_refusal=self.refused.put)

    def post(self, sent: Sent, path: str = "/any/path?x=1") -> int:
        answer = httpx2.post(self.receiver.address + path, headers=dict(sent.headers), content=sent.body)
        assert answer.content == b""
        return answer.status_code


class Publisher:
    """An address with public keys; ``sent`` is the next answers, each a status and a body."""

    def __init__(self) -> None:
        self.asked: list[dict[str, str]] = []
        self.answer: tuple[int, bytes] = (200, json.dumps({"keys": public("ours")}).encode())
        publisher = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                publisher.asked.append({"path": self.path, **dict(self.headers.items())})
                status, body = publisher.answer
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    made = Publisher()
    yield made
    made.close()


@pytest.fixture
def listening(publisher: Publisher) -> Iterator[Listening]:
    made = Listening(Verifier([raw()], Keys(publisher.url, itertools.count(step=1000).__next__), lambda: NOW))
    with made.receiver:
        yield made


@pytest.mark.parametrize("kind", ["v1", "v1a", "token"])
def test_a_delivery_is_answered_and_handed_on_once(listening: Listening, kind: str) -> None:
    sent = Sender(kind).send()
    assert listening.post(sent) == 200
    assert listening.post(sent, "/") == 200
    assert listening.arrived.get(timeout=10).signature == kind
    with pytest.raises(Empty):
        listening.arrived.get_nowait()
    assert listening.refused.empty()


@pytest.mark.parametrize(
    ("sent", "status", "reason"),
    [
        (Sender("v1").send().but(signature=None), 400, "headers_missing"),
        (Sender("v1").send().but(timestamp="soon"), 400, "headers_malformed"),
        (Sender("v1").send(at=NOW - 301), 400, "stale"),
        (Sender("v1").send(body=b"[]"), 400, "not_an_event"),
        (Sent(Sender("v1").send().headers, b"{}"), 401, "signature_wrong"),
        (Sender("v1a", key="theirs").send(), 401, "signature_wrong"),
        (Sender("v1").send().but(signature="v7,x"), 401, "signature_unknown"),
        (Sender("v1").send(body=b" " * 70_000 + BODY), 413, "too_large"),
    ],
)
def test_everything_else_is_refused(listening: Listening, sent: Sent, status: int, reason: str) -> None:
    assert listening.post(sent) == status
    assert listening.refused.get(timeout=10) == reason
    assert listening.arrived.empty()


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_only_a_post_is_a_delivery(listening: Listening, method: str) -> None:
    assert httpx2.request(method, listening.receiver.address).status_code == 405
    assert listening.refused.get(timeout=10) == "not_a_post"


def test_a_header_that_is_no_text(listening: Listening) -> None:
    """It is refused like any other."""
    host, _, port = listening.receiver.address.removeprefix("http://").rpartition(":")
    wire = http.client.HTTPConnection(host, int(port), timeout=10)
    wire.putrequest("POST", "/")
    for name in ("webhook-id", "webhook-timestamp", "webhook-signature"):
        wire.putheader(name, b"\xff\xfe")
    wire.putheader("Content-Length", "0")
    wire.endheaders()
    assert wire.getresponse().status == 400
    wire.close()


def test_a_port_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        receiver = Receiver(
            Verifier([], None, lambda: NOW), port=port, on_delivery=lambda _: None, on_refusal=lambda _: None
        )
        with pytest.raises(UsageError, match=str(port)) as caught, receiver:
            pass
    assert (caught.value.reason_code, caught.value.exit_code) == ("port_in_use", 2)


# Keys -----------------------------------------------------------------------------------------------------------------


class Ticks:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_keys_are_fetched_when_they_are_needed_and_kept_for_an_hour(publisher: Publisher) -> None:
    """Without an API key. Keys that do not fit are fetched again, but at most once a minute."""
    clock = Ticks()
    keys = Keys(publisher.url, clock)
    assert publisher.asked == []
    assert [key.key_type for key in keys.known()] == ["OKP", "RSA"]
    clock.now = 59
    keys.known()
    assert keys.newer() is None
    assert len(publisher.asked) == 1
    clock.now = 60
    publisher.answer = (200, json.dumps({"keys": public("ours", "theirs")}).encode())
    newer = keys.newer()
    assert newer is not None
    assert len(newer) == len(keys.known()) == 4
    assert keys.newer() is None
    clock.now = 3660
    keys.known()
    assert len(publisher.asked) == 3
    assert all(one["path"] == PATH and not {"x-goog-api-key", "authorization"} & set(one) for one in publisher.asked)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, b"{}"),
        (500, b""),
        (302, b""),
        (200, b""),
        (200, b"[]"),
        (200, b"{}"),
        (200, b'{"keys": []}'),
        (200, b'{"keys": {}}'),
        (200, b'{"keys": [5, {}, {"kty": "XYZ"}, {"kty": "RSA"}]}'),
        (200, b'{"keys": "' + b"x" * (1 << 20) + b'"}'),
    ],
)
def test_an_answer_without_keys(publisher: Publisher, listening: Listening, status: int, body: bytes) -> None:
    """The service is asked to try again, and does, with success."""
    publisher.answer, good = (status, body), publisher.answer
    sent = Sender("v1a").send()
    assert listening.post(sent) == 503
    assert listening.refused.get(timeout=10) == "no_keys"
    publisher.answer = good
    assert listening.post(sent) == 200


def test_keys_of_unknown_kinds_are_ignored(publisher: Publisher) -> None:
    unknown: list[Any] = [
        {"kty": "XYZ"},
        {"kty": "OKP", "crv": "Ed99", "x": "AA"},
        {"use": "enc"},
        None,
        *public("ours"),
    ]
    publisher.answer = (200, json.dumps({"keys": unknown}).encode())
    assert len(Keys(publisher.url, Ticks()).known()) == 2


def test_an_address_without_anyone() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    clock = Ticks()
    keys = Keys(url, clock)
    for now in (0.0, 0.5, 2.0):
        clock.now = now
        with pytest.raises(NoKeysError):
            keys.known()
