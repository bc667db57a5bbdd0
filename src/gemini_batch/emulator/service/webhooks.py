"""The webhooks of a project: create, list, get, update, delete, ping, rotate the secret; and the public keys.

This part of the service speaks snake_case. A secret is in the answer that creates it, and in no other.
"""

from __future__ import annotations

import json
import re
import uuid
from typing import TYPE_CHECKING, Any

import httpx2

from gemini_batch.emulator.engine.deliveries import event
from gemini_batch.emulator.messages import errors, signing
from gemini_batch.emulator.messages.calls import Call, Reply
from gemini_batch.emulator.messages.protojson import BadBody, read_body
from gemini_batch.emulator.state.clock import DAY, Clock, rfc3339
from gemini_batch.emulator.state.files import page_token, read_token
from gemini_batch.protocol.spelling import snake

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from gemini_batch.emulator.state.store import Store
    from gemini_batch.emulator.state.webhooks import Webhooks as Kept

#: ``batch.cancelled`` stands in Google's guide, and no longer in the reference; the emulator delivers it.
EVENTS = frozenset(
    {
        "batch.succeeded",
        "batch.failed",
        "batch.expired",
        "batch.cancelled",
        "interaction.requires_action",
        "interaction.completed",
        "interaction.failed",
        "interaction.cancelled",
        "video.generated",
    }
)
_SETTABLE = ("enabled", "disabled")
_OUTPUT_ONLY = frozenset({"id", "create_time", "update_time", "new_signing_secret", "signing_secrets"})
_ID = re.compile(r"[a-z0-9-]{1,63}")
_LATER, _AT_ONCE = "revoke_previous_secrets_after_h24", "revoke_previous_secrets_immediately"


class Webhooks:
    """The registered webhooks of one data folder."""

    def __init__(self, store: Store, clock: Clock, kept: Kept, announce: Callable[[], None]) -> None:
        self._store, self._clock, self._kept = store, clock, kept
        #: Called before webhooks change: what has happened by then concerns the webhooks of then.
        self._announce = announce

    def create(self, call: Call) -> Reply:
        """Register a webhook; only this answer has its secret."""
        given = _given(call)
        for name in ("uri", "subscribed_events"):
            if not given.get(name):
                raise errors.invalid(f"* webhook.{name}: must be set.\n")
        _check(given, lenient=call.lenient)
        asked = call.text("webhookId")
        if asked and not _ID.fullmatch(asked):
            raise errors.invalid("* webhook_id: must be lowercase letters, digits and hyphens.\n")
        self._announce()
        webhook_id, secret, now = asked or str(uuid.uuid4()), signing.new_secret(), self._clock.now()
        with self._store.transaction() as db:
            if db.execute("SELECT 1 FROM webhooks WHERE id = ?", (webhook_id,)).fetchone():
                raise errors.exists(f"Webhook {webhook_id}")
            db.execute(
                """INSERT INTO webhooks (id, owner, name, uri, events, created, updated)
                VALUES (?, ?, ?, ?, ?, ?, ?)""",
                (
                    webhook_id,
                    call.owner,
                    given.get("name", ""),
                    given["uri"],
                    json.dumps(given["subscribed_events"]),
                    now,
                    now,
                ),
            )
            db.execute("INSERT INTO webhook_secrets (webhook, secret) VALUES (?, ?)", (webhook_id, secret))
        shown = self._shown(self._find(webhook_id, call.owner))
        return Reply.json({**shown, "new_signing_secret": secret})

    def get(self, call: Call) -> Reply:
        """One webhook."""
        return Reply.json(self._shown(self._find(call.names["webhook"], call.owner)))

    def list(self, call: Call) -> Reply:
        """The project's webhooks, newest first, in pages."""
        size, before = call.number("pageSize", 50, most=1000), read_token(call.text("pageToken"))
        rows = self._store.rows(
            "SELECT * FROM webhooks WHERE owner = ? AND (? OR seq < ?) ORDER BY seq DESC LIMIT ?",
            (call.owner, before is None, before, size + 1),
        )
        answer: dict[str, Any] = {}
        if rows:
            answer["webhooks"] = [self._shown(row) for row in rows[:size]]
        if len(rows) > size:
            answer["next_page_token"] = page_token(rows[size - 1]["seq"])
        return Reply.json(answer)

    def update(self, call: Call) -> Reply:
        """Change the name, address, events or state: those of the mask, or all that are given."""
        row = self._find(call.names["webhook"], call.owner)
        given = _given(call)
        mask = {snake(name.strip()) for name in call.text("updateMask").split(",") if name.strip()} - {"*"}
        if unknown := mask - {"name", "uri", "subscribed_events", "state"}:
            raise errors.invalid(f"Invalid update_mask: {min(unknown)} cannot be updated.")
        changed = {name: value for name, value in given.items() if not mask or name in mask}
        _check(changed, lenient=call.lenient)
        self._announce()
        with self._store.transaction() as db:
            db.execute(
                "UPDATE webhooks SET name = ?, uri = ?, events = ?, state = ?, updated = ? WHERE id = ?",
                (
                    changed.get("name", row["name"]),
                    changed.get("uri", row["uri"]),
                    json.dumps(changed["subscribed_events"]) if "subscribed_events" in changed else row["events"],
                    changed.get("state", row["state"]),
                    self._clock.now(),
                    row["id"],
                ),
            )
        return self.get(call)

    def delete(self, call: Call) -> Reply:
        """Delete a webhook, its secrets, and what is still to be delivered to it."""
        row = self._find(call.names["webhook"], call.owner)
        with self._store.transaction() as db:
            db.execute("DELETE FROM webhooks WHERE id = ?", (row["id"],))
            db.execute("DELETE FROM webhook_secrets WHERE webhook = ?", (row["id"],))
        return Reply()

    def ping(self, call: Call) -> Reply:
        """Deliver an event that means nothing; its name is the emulator's own."""
        row = self._find(call.names["webhook"], call.owner)
        made = event("webhook.ping", {"id": row["id"]}, self._clock.now())
        with self._store.transaction() as db:
            self._kept.enqueue(db, made, owner=call.owner, uri=row["uri"], webhook=row["id"])
        return Reply()

    def rotate(self, call: Call) -> Reply:
        """Make a new secret; the earlier ones are valid for another day, or no longer."""
        row = self._find(call.names["webhook"], call.owner)
        behavior = str(_object(call).get("revocation_behavior", _LATER)).lower()
        if behavior not in (_LATER, _AT_ONCE):
            raise errors.invalid(f"* revocation_behavior: must be {_LATER} or {_AT_ONCE}.\n")
        secret, now = signing.new_secret(), self._clock.now()
        with self._store.transaction() as db:
            db.execute(
                "UPDATE webhook_secrets SET expires = min(coalesce(expires, :end), :end) WHERE webhook = :webhook",
                {"end": now + DAY if behavior == _LATER else now, "webhook": row["id"]},
            )
            db.execute("INSERT INTO webhook_secrets (webhook, secret) VALUES (?, ?)", (row["id"], secret))
        return Reply.json({"secret": secret})

    def keys(self, call: Call) -> Reply:
        """The public keys that check the deliveries of a job's own webhooks."""
        del call
        try:
            return Reply.json({"keys": self._kept.keys().public()})
        except signing.NoLibraryError as error:
            raise errors.ApiFailure(501, "UNIMPLEMENTED", f"The emulator has no keys: {error}") from None

    def _find(self, webhook_id: str, owner: str) -> sqlite3.Row:
        if (row := self._kept.find(webhook_id, owner)) is None:
            raise errors.not_found()
        return row

    def _shown(self, row: sqlite3.Row) -> dict[str, Any]:
        shown = {
            "id": row["id"],
            "name": row["name"],
            "uri": row["uri"],
            "subscribed_events": json.loads(row["events"]),
            "state": row["state"],
            "create_time": rfc3339(row["created"]),
            "update_time": rfc3339(row["updated"]),
            "signing_secrets": [
                {"truncated_secret": signing.truncated(one["secret"])}
                | ({"expire_time": rfc3339(one["expires"])} if one["expires"] is not None else {})
                for one in self._kept.secrets(row["id"])
            ],
        }
        return {name: value for name, value in shown.items() if value}


def _object(call: Call) -> dict[str, Any]:
    try:
        value = read_body(call.body)
    except BadBody as error:
        raise errors.invalid(f"Invalid JSON payload received. {error}") from None
    if not isinstance(value, dict):
        raise errors.invalid("Invalid JSON payload received. The root must be an object.")
    return {snake(name): content for name, content in value.items()}


def _given(call: Call) -> dict[str, Any]:
    """The webhook in the body, without what only the service sets."""
    given = {name: value for name, value in _object(call).items() if name not in _OUTPUT_ONLY}
    known = {"name", "uri", "subscribed_events", "state"}
    unknown = sorted(given.keys() - known)
    if unknown and not call.lenient:
        raise errors.invalid_fields(
            [(name, f'Invalid JSON payload received. Unknown name "{name}": Cannot find field.') for name in unknown]
        )
    return {name: value for name, value in given.items() if name in known and value is not None}


def _check(given: dict[str, Any], *, lenient: bool) -> None:
    for name in ("name", "uri", "state"):
        if name in given and not isinstance(given[name], str):
            raise errors.invalid(f"* webhook.{name}: must be a string.\n")
    events = given.get("subscribed_events", [])
    if not isinstance(events, list) or not all(isinstance(one, str) for one in events):
        raise errors.invalid("* webhook.subscribed_events: must be a list of strings.\n")
    if not lenient and (unknown := [one for one in events if one not in EVENTS]):
        raise errors.invalid(f"* webhook.subscribed_events: there is no event {unknown[0]!r}.\n")
    if "state" in given and given["state"] not in _SETTABLE:
        raise errors.invalid(f"* webhook.state: must be {' or '.join(_SETTABLE)}.\n")
    if "uri" in given and not is_address(given["uri"]):
        raise errors.invalid("* webhook.uri: must be an http or https address.\n")


def is_address(uri: str) -> bool:
    """Whether it is the address of a receiver: http or https, with a host."""
    try:
        url = httpx2.URL(uri)
    except (httpx2.InvalidURL, ValueError):
        return False
    return url.scheme in ("http", "https") and bool(url.host)
