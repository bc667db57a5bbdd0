"""Delivers the events of webhooks: a job has ended, so its addresses receive a signed POST.

What always holds: an event is recorded with the fact that it was announced, so each end of a job is announced once, and
a process that is killed leaves the deliveries to the next one. A delivery is repeated with growing pauses, by the
emulator's clock, for a day after the event; its ``webhook-id`` stays the same. Deliveries go to addresses of this
machine and to hosts that were allowed, nowhere else. Receivers live in real time, so ``webhook-timestamp`` is real.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import secrets
import sqlite3
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx2
from filelock import FileLock, Timeout

from gemini_batch.emulator.messages import signing
from gemini_batch.emulator.messages.addresses import is_loopback
from gemini_batch.emulator.state.clock import DAY, SECOND, rfc3339

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gemini_batch.emulator.faults.armed import Faults
    from gemini_batch.emulator.state.clock import Clock
    from gemini_batch.emulator.state.store import Store
    from gemini_batch.emulator.state.webhooks import Webhooks

#: How long deliveries are attempted after the event (documented), and the pause before the second attempt, which
#: doubles each time.
LIFE, FIRST_PAUSE = DAY, 10 * SECOND
#: Seconds that a receiver may take for its answer, and how many receivers are called at the same time.
_PATIENCE, _AT_ONCE = 10.0, 20
#: Seconds between two checks whether anything is due.
_TICK = 0.1
_HOUR = 3600


class _Sent(NamedTuple):
    """The outcome of an attempt: an HTTP status, or why there is none; ``final``: no other attempt can be better."""

    status: int | None = None
    error: str = ""
    final: bool = False


class Deliveries:
    """The deliveries of one data folder. ``hosts``: names to deliver to besides those of the loopback."""

    def __init__(self, store: Store, clock: Clock, webhooks: Webhooks, faults: Faults) -> None:
        self._store, self._clock, self._webhooks, self._faults = store, clock, webhooks, faults
        self._http: httpx2.AsyncClient | None = None
        self._ending = False
        self._serving: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None
        self.hosts: frozenset[str] = frozenset()
        self.real_time: Callable[[], float] = time.time

    def run(self) -> None:
        """Deliver until :meth:`end`. An attempt that this interrupts is made again by the next process."""
        asyncio.run(self._serve())

    def end(self) -> None:
        """End :meth:`run`, from any thread, at any time."""
        self._ending = True
        if self._serving is not None:
            loop, ending = self._serving
            with contextlib.suppress(RuntimeError):  # the loop has just ended
                loop.call_soon_threadsafe(ending.set)

    async def _serve(self) -> None:
        self._serving = asyncio.get_running_loop(), asyncio.Event()
        if self._ending:
            return
        working = asyncio.ensure_future(self._forever())
        ending = asyncio.ensure_future(self._serving[1].wait())
        try:
            await asyncio.wait({working, ending}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            working.cancel()
            ending.cancel()
            await asyncio.gather(working, ending, return_exceptions=True)
            if self._http is not None:
                await self._http.aclose()

    async def _forever(self) -> None:
        while True:
            with contextlib.suppress(sqlite3.OperationalError):  # other processes are busy with the database
                if self._ended() or self._due():
                    await self._work()
            await asyncio.sleep(_TICK)

    async def _work(self) -> None:
        """Announce jobs that have ended, and send what is due; nothing while another process does it."""
        with contextlib.suppress(Timeout), FileLock(self._store.folder / "deliveries.lock", timeout=0, mode=0o600):
            self.announce()
            while due := self._due():
                await asyncio.gather(*map(self._attempt, due))

    def _due(self) -> list[sqlite3.Row]:
        return self._store.rows(
            "SELECT * FROM deliveries WHERE state = 'pending' AND due <= ? ORDER BY due, seq LIMIT ?",
            (self._clock.now(), _AT_ONCE),
        )

    # Events ----------------------------------------------------------------------------------------------------------

    def _ended(self) -> list[sqlite3.Row]:
        return self._store.rows(
            """SELECT * FROM batches WHERE ended IS NOT NULL AND announced = 0
            AND (deleted OR state IN ('SUCCEEDED', 'FAILED', 'EXPIRED', 'CANCELLED')) ORDER BY seq"""
        )

    def announce(self) -> None:
        """Record the events of jobs that have ended. Webhooks that change afterwards have no part in them."""
        for batch in self._ended():
            with self._store.transaction() as db:
                update = "UPDATE batches SET announced = 1 WHERE id = ? AND announced = 0 RETURNING deleted"
                mine = db.execute(update, (batch["id"],)).fetchone()
                if mine is not None and not mine["deleted"]:
                    self._enqueue(db, batch)

    def _enqueue(self, db: sqlite3.Connection, batch: sqlite3.Row) -> None:
        event = event_of(batch)
        config = json.loads(batch["webhook"]) if batch["webhook"] else {}
        # A job's own addresses are used instead of the registered ones.
        targets: list[tuple[str | None, str]] = [(None, uri) for uri in dict.fromkeys(config.get("uris", ()))]
        if not targets:
            registered = db.execute(
                "SELECT id, uri, events FROM webhooks WHERE owner = ? AND state = 'enabled' ORDER BY seq",
                (batch["owner"],),
            )
            targets = [(row["id"], row["uri"]) for row in registered if event["type"] in json.loads(row["events"])]
        if not targets:
            return
        fault = self._faults.delivery(batch) if self._faults.webhook else None
        change = fault.webhook if fault else ""
        late = round(fault.late * SECOND) if fault and change == "late" else 0
        for webhook, uri in targets:
            self._webhooks.enqueue(
                db,
                event,
                owner=batch["owner"],
                uri=uri,
                webhook=webhook,
                batch=batch["id"],
                change=change,
                due=self._clock.now() + late,
                state="lost" if change == "never" else "pending",
            )

    # Attempts --------------------------------------------------------------------------------------------------------

    async def _attempt(self, row: sqlite3.Row) -> None:
        began = self._clock.now()
        sent = await self._send(row)
        attempts = json.loads(row["attempts"])
        attempts.append({"time": rfc3339(began), "status": sent.status, "error": sent.error or None})
        state, due = "pending", row["due"]
        if sent.final:
            state = "withheld"
        elif sent.status is not None and 200 <= sent.status < 300:
            arrived = sum(200 <= (one["status"] or 0) < 300 for one in attempts)
            state = "pending" if row["change"] == "twice" and arrived == 1 else "delivered"
        else:
            due = began + pause_after(len(attempts))
            if due > row["created"] + LIFE:
                state = "given_up"
        with self._store.transaction() as db:
            db.execute(
                "UPDATE deliveries SET state = ?, due = ?, attempts = ? WHERE id = ?",
                (state, due, json.dumps(attempts), row["id"]),
            )
            if state == "given_up" and row["webhook"]:
                db.execute(
                    "UPDATE webhooks SET state = 'disabled_due_to_failed_deliveries', updated = ? WHERE id = ?",
                    (self._clock.now(), row["webhook"]),
                )

    async def _send(self, row: sqlite3.Row) -> _Sent:
        if not may_receive(row["uri"], self.hosts):
            return _Sent(error="not an address of this machine; --deliver-to allows its host", final=True)
        if row["webhook"] and (kept := self._webhooks.find(row["webhook"], row["owner"])) is None:
            return _Sent(error="the webhook was deleted", final=True)
        if row["webhook"] and kept is not None and kept["state"] == "disabled":
            return _Sent(error="the webhook is disabled", final=True)
        body = row["body"].encode()
        try:
            headers = self._headers(row, body)
        except signing.NoLibraryError as error:
            return _Sent(error=str(error), final=True)
        try:
            async with self._client().stream("POST", row["uri"], content=body, headers=headers) as answer:
                return _Sent(answer.status_code)
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError) as error:
            return _Sent(error=f"{type(error).__name__}: {error}")

    def _headers(self, row: sqlite3.Row, body: bytes) -> dict[str, str]:
        timestamp = int(self.real_time()) - (_HOUR if row["change"] == "stale" else 0)
        headers = {
            "Content-Type": "application/json",
            "Webhook-Id": row["id"],
            "Webhook-Timestamp": str(timestamp),
        }
        if row["change"] != "unsigned":
            headers["Webhook-Signature"] = self._signature(row, timestamp, body)
        return headers

    def _signature(self, row: sqlite3.Row, timestamp: int, body: bytes) -> str:
        if row["change"] == "wrong_signature":
            version, length = ("v1", 32) if row["webhook"] else ("v1a", 64)
            return f"{version},{base64.b64encode(secrets.token_bytes(length)).decode()}"
        if row["webhook"]:
            # Until a replaced secret expires, its holder can check deliveries, too.
            found = self._webhooks.secrets(row["webhook"])
            return " ".join(signing.with_secret(one["secret"], row["id"], timestamp, body) for one in found)
        keys = self._webhooks.keys()
        if row["change"] == "token":
            return keys.token(row["id"], timestamp, body, row["uri"])
        return keys.sign(row["id"], timestamp, body)

    def _client(self) -> httpx2.AsyncClient:
        if self._http is None:
            # No proxy and no redirect: nothing but the address itself is called.
            self._http = httpx2.AsyncClient(trust_env=False, follow_redirects=False, timeout=_PATIENCE)
        return self._http


def event_of(batch: sqlite3.Row) -> dict[str, Any]:
    """The event of a job that has ended: a pointer to the job, not its answers.

    The form is that of Google's guide. It does not say which form ``id`` has, or where the metadata stands.
    """
    data: dict[str, Any] = {"id": f"batches/{batch['id']}"}
    if batch["state"] == "SUCCEEDED" and batch["input_file"]:
        data["output_file_uri"] = f"files/batch-{batch['id']}"
    if batch["state"] == "FAILED":
        data |= {"error_code": batch["error_code"], "error_message": batch["error_message"]}
    made = event(f"batch.{batch['state'].lower()}", data, batch["ended"])
    config = json.loads(batch["webhook"]) if batch["webhook"] else {}
    if metadata := config.get("userMetadata"):
        made["user_metadata"] = metadata
    return made


def event(kind: str, data: dict[str, Any], moment: int) -> dict[str, Any]:
    """The envelope of every event."""
    return {"type": kind, "version": "v1", "timestamp": rfc3339(moment), "data": data}


def pause_after(attempts: int) -> int:
    """The pause after so many attempts that failed, in nanoseconds."""
    return FIRST_PAUSE << (attempts - 1)


def may_receive(uri: str, hosts: Iterable[str] = ()) -> bool:
    """Whether deliveries may go to an address: to this machine, or to one of ``hosts``."""
    try:
        url = httpx2.URL(uri)
    except (httpx2.InvalidURL, ValueError):
        return False
    if url.scheme not in ("http", "https") or url.userinfo:
        return False
    host = url.host.lower().removesuffix(".")
    return host in hosts or is_loopback(host)
