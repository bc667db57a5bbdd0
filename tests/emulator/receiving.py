"""A receiver of webhooks on this machine, and what tests ask about deliveries."""

from __future__ import annotations

import base64
import contextlib
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

import httpx2
import jwt

if TYPE_CHECKING:
    from collections.abc import Iterator

    from emulator.conftest import Api


@dataclass
class Receiver:
    """A receiver on this machine: what arrived, and the statuses of its next answers (then 204)."""

    url: str
    arrived: SimpleQueue[tuple[dict[str, str], bytes]]
    answers: list[int] = field(default_factory=list)

    def next(self) -> tuple[dict[str, str], bytes]:
        """The next delivery: headers by their names in lower case, and the body."""
        return self.arrived.get(timeout=20)

    def nothing(self) -> bool:
        with contextlib.suppress(Empty):
            self.arrived.get_nowait()
            return False
        return True


@contextlib.contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver, until the block ends."""
    arrived: SimpleQueue[tuple[dict[str, str], bytes]] = SimpleQueue()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            arrived.put(({name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(made.answers.pop(0) if made.answers else 204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        made = Receiver(f"http://127.0.0.1:{server.server_port}/hook", arrived)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield made
        server.shutdown()
        thread.join()


def deliveries(api: Api) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = api.http.get("/emulator/webhooks").json()["deliveries"]
    return found


def settled(api: Api, *states: str, attempts: int = 1) -> list[dict[str, Any]]:
    """The deliveries, once they stand like this and have had so many attempts in all."""
    end = time.monotonic() + 20
    while True:
        found = deliveries(api)
        if [one["state"] for one in found] == list(states) and sum(len(one["attempts"]) for one in found) >= attempts:
            return found
        assert time.monotonic() < end, found
        threading.Event().wait(0.01)


def hook(*uris: str, **metadata: Any) -> dict[str, Any]:
    return {"webhookConfig": {"uris": list(uris), **({"userMetadata": metadata} if metadata else {})}}


def verified_by_key(api: Api, headers: dict[str, str], body: bytes) -> bool:
    """Whether a public key of the emulator made the signature ``v1a``; without our own code."""
    version, _, text = headers["webhook-signature"].partition(",")
    assert version == "v1a"
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    sent = httpx2.get(f"{api.http.base_url}/.well-known/jwks.json".replace("//.", "/.")).json()
    keys = [jwt.PyJWK(key) for key in sent["keys"] if key["kty"] == "OKP"]
    return any(jwt.algorithms.OKPAlgorithm().verify(signed, key.key, base64.b64decode(text)) for key in keys)
