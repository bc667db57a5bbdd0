"""Cached contents: where they are kept, and how they become part of the prompts that name them.

The caller cannot tell apart a cache that is unknown, deleted, expired or another project's. In a rehearsal, a cache
that was never made here may be at the service. It cannot be seen from here, so a request that names it is answered.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

from gemini_batch import jsonl
from gemini_batch.emulator.messages import errors
from gemini_batch.emulator.state import models
from gemini_batch.errors import RowError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from gemini_batch.emulator.state.clock import Clock
    from gemini_batch.emulator.state.store import Store

    Responder = Callable[[str, dict[str, Any]], dict[str, Any]]

PREFIX = "cachedContents/"
#: What a cache holds; a request that names a cache has only its own contents besides.
CONTENT = ("contents", "systemInstruction", "tools", "toolConfig")


class Caches:
    """The caches of one data folder.

    ``rehearsal``: requests may name caches that were never made here, because the service may have them.
    """

    def __init__(self, store: Store, clock: Clock, *, rehearsal: bool = False) -> None:
        self._store = store
        self._clock = clock
        self.rehearsal = rehearsal

    def add(self, cache_id: str, owner: str, content: dict[str, Any], **facts: Any) -> sqlite3.Row:
        """Keep a cache, first its content, then its row. ``facts``: model, display_name, tokens, created, expires."""
        blob = f"cache-{cache_id}"
        with jsonl.private_open(self._store.blob(blob), "xb") as file:
            file.write(jsonl.encode(content))
            file.flush()
            os.fsync(file.fileno())
        self._purge()
        with self._store.transaction() as db:
            db.execute(
                """INSERT INTO caches (id, owner, model, display_name, tokens, created, updated, expires, blob)
                VALUES (:id, :owner, :model, :display_name, :tokens, :created, :created, :expires, :blob)""",
                {"id": cache_id, "owner": owner, "blob": blob, **facts},
            )
        return self.find(cache_id, owner)

    def find(self, cache_id: str, owner: str, *, at: int | None = None) -> sqlite3.Row:
        """The row of a cache that this project may use now, or at a time. Raises :class:`errors.ApiFailure` (403)."""
        row = self._store.row(
            "SELECT * FROM caches WHERE id = ? AND owner = ? AND expires > ?",
            (cache_id, owner, self._clock.now() if at is None else at),
        )
        if row is None:
            raise errors.no_cache()
        return row

    def page(self, owner: str, *, before: int | None, size: int) -> list[sqlite3.Row]:
        """The project's caches, newest first."""
        return self._store.rows(
            "SELECT * FROM caches WHERE owner = ? AND expires > ? AND (? OR seq < ?) ORDER BY seq DESC LIMIT ?",
            (owner, self._clock.now(), before is None, before, size),
        )

    def expire(self, cache_id: str, at: int) -> None:
        """Set when a cache ends. Deleting one ends it now."""
        with self._store.transaction() as db:
            db.execute("UPDATE caches SET expires = ?, updated = ? WHERE id = ?", (at, self._clock.now(), cache_id))

    def content(self, row: sqlite3.Row) -> dict[str, Any]:
        """What a cache holds: some fields of a request, in canonical form."""
        found: dict[str, Any] = jsonl.decode(self._store.blob(row["blob"]).read_bytes())
        return found

    def was_here(self, cache_id: str, owner: str) -> bool:
        """Whether the project has ever made this cache, deleted and expired ones included."""
        return self._store.row("SELECT 1 FROM caches WHERE id = ? AND owner = ?", (cache_id, owner)) is not None

    def names(self, owner: str) -> frozenset[str]:
        """The names of all caches that the project may use now."""
        rows = self._store.rows("SELECT id FROM caches WHERE owner = ? AND expires > ?", (owner, self._clock.now()))
        return frozenset(PREFIX + row["id"] for row in rows)

    def _purge(self) -> None:
        """Remove the content of caches that no request can use any more.

        A job that is alive may have rows that ran before a cache ended, and that are processed later.
        """
        with self._store.transaction() as db:
            gone = db.execute(
                """SELECT id, blob FROM caches WHERE blob != '' AND expires <= ? AND NOT EXISTS
                (SELECT 1 FROM batches
                WHERE owner = caches.owner AND state IN ('PENDING', 'RUNNING') AND deleted != 1)""",
                (self._clock.now(),),
            ).fetchall()
            db.executemany("UPDATE caches SET blob = '' WHERE id = ?", [(row["id"],) for row in gone])
        for row in gone:
            self._store.blob(row["blob"]).unlink(missing_ok=True)


class _Held(NamedTuple):
    row: sqlite3.Row
    content: dict[str, Any]


class CachedPrompts:
    """The caches that one project's requests may name; each is read once."""

    def __init__(self, caches: Caches, owner: str) -> None:
        self._caches = caches
        self._owner = owner
        self._held: dict[str, _Held | None] = {}

    def check(self, model: str, request: dict[str, Any], *, at: int) -> None:
        """Raise :class:`RowError` if a request for ``model``, run at a time, names a cache that it cannot use.

        Code 7: the project has no such cache. Code 3: it was made for another model.
        """
        if not (name := request.get("cachedContent")):
            return
        cache = self._find(name)
        if cache is None:
            if self._caches.rehearsal and not self._caches.was_here(_id(name), self._owner):
                return
            raise RowError(7, errors.no_cache().message)
        if cache.row["expires"] <= at:
            raise RowError(7, errors.no_cache().message)
        if cache.row["model"] != model:
            asked, made = models.resource(model), models.resource(cache.row["model"])
            raise RowError(
                3, f"Model used by GenerateContent request ({asked}) and CachedContent ({made}) has to be the same."
            )

    def whole(self, request: dict[str, Any]) -> dict[str, Any]:
        """A request with the content of its cache in the cache's place; unchanged if that cannot be seen from here."""
        cache = self._find(request.get("cachedContent") or "")
        if cache is None:
            return request
        own = {name: value for name, value in request.items() if name != "cachedContent"}
        contents = [*(cache.content.get("contents") or ()), *(request.get("contents") or ())]
        return {**cache.content, **own, "contents": contents}

    def tokens(self, request: dict[str, Any]) -> int:
        """The tokens of the cache that a request names; 0 without one."""
        cache = self._find(request.get("cachedContent") or "")
        return 0 if cache is None else int(cache.row["tokens"])

    def answering(self, respond: Responder, name: str, at: Callable[[], int]) -> Responder:
        """A responder that sees the whole prompt, and whose answers say how much of it was cached.

        ``name`` is the model's, ``at`` says when the request is run. It raises :class:`RowError` as :meth:`check` does.
        """

        def answer(model: str, request: dict[str, Any]) -> dict[str, Any]:
            if not request.get("cachedContent"):
                return respond(model, request)
            self.check(name, request, at=at())
            return self._marked(request, respond(model, self.whole(request)))

        return answer

    def _marked(self, request: dict[str, Any], response: dict[str, Any]) -> dict[str, Any]:
        usage = response.get("usageMetadata")
        if not usage or not (cached := min(self.tokens(request), usage.get("promptTokenCount", 0))):
            return response
        details = [{"modality": "TEXT", "tokenCount": cached}]
        counted = {**usage, "cachedContentTokenCount": cached, "cacheTokensDetails": details}
        return {**response, "usageMetadata": counted}

    def _find(self, name: str) -> _Held | None:
        """A cache of the project, ended or not, as long as its content is here."""
        if name not in self._held:
            self._held[name] = None
            try:
                row = self._caches.find(_id(name), self._owner, at=0)
            except errors.ApiFailure:
                return None
            if row["blob"]:
                self._held[name] = _Held(row, self._caches.content(row))
        return self._held[name]


def _id(name: str) -> str:
    """The id in a cache's name; empty, which no cache has, for anything else."""
    return name.removeprefix(PREFIX) if name.startswith(PREFIX) else ""
