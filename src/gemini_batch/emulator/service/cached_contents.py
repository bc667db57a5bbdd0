"""The methods of cached contents: create, get, list, update, delete. Only ``v1beta`` and ``v1alpha`` have them."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from gemini_batch.emulator.messages import errors
from gemini_batch.emulator.messages.calls import Call, Reply
from gemini_batch.emulator.responders import builtin
from gemini_batch.emulator.state import models
from gemini_batch.emulator.state.attachments import Attachments, MissingFile
from gemini_batch.emulator.state.caches import CONTENT, PREFIX
from gemini_batch.emulator.state.clock import HOUR, SECOND, rfc3339
from gemini_batch.emulator.state.files import new_id, page_token, read_token
from gemini_batch.errors import RowError
from gemini_batch.protocol.checks import broken_contents, broken_settings
from gemini_batch.protocol.spelling import snake

if TYPE_CHECKING:
    import sqlite3

    from gemini_batch.emulator.engine.engine import Engine
    from gemini_batch.emulator.state.clock import Clock

_DEFAULT_LIFE = HOUR
_LONGEST_DISPLAY_NAME = 128
_REQUEST = "GenerateContentRequest"
_HERE = "CreateCachedContentRequest.cached_content"
_EXPIRATION = frozenset({"ttl", "expire_time"})
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


class CachedContents:
    """The cached contents of one data folder."""

    def __init__(self, clock: Clock, engine: Engine) -> None:
        self._clock = clock
        self._engine = engine
        self._caches = engine.caches

    def create(self, call: Call) -> Reply:
        """Keep some content for the requests that will name it."""
        _of_version(call)
        asked = call.message("CachedContent")
        model = self._model(call, asked.get("model") or "")
        if len(asked.get("displayName", "")) > _LONGEST_DISPLAY_NAME:
            raise errors.invalid(f"* {_HERE}.display_name: must be at most {_LONGEST_DISPLAY_NAME} characters long.\n")
        now = self._clock.now()
        expires = _expires(asked, now)
        content = {name: asked[name] for name in CONTENT if asked.get(name)}
        self._check(call, model, content)
        tokens, media = builtin.prompt_size(content)
        least = self._engine.limits.quotas.of_cache(model)
        # How many tokens a file has cannot be seen here, so only text can be too short.
        if tokens < least and not media:
            raise errors.invalid(
                f"Cached content is too small. total_token_count={tokens}, min_total_token_count={least}"
            )
        made = self._caches.add(
            new_id(40),
            call.owner,
            content,
            model=model,
            display_name=asked.get("displayName", ""),
            tokens=tokens,
            created=now,
            expires=expires,
        )
        return Reply.json(_shown(made))

    def get(self, call: Call) -> Reply:
        """One cache; never its content."""
        _of_version(call)
        return Reply.json(_shown(self._find(call)))

    def list(self, call: Call) -> Reply:
        """The project's caches, newest first, in pages. The service's order and default page size are not known."""
        _of_version(call)
        size, before = call.number("pageSize", 100, most=1000), read_token(call.text("pageToken"))
        rows = self._caches.page(call.owner, before=before, size=size + 1)
        answer: dict[str, Any] = {}
        if rows:
            answer["cachedContents"] = [_shown(row) for row in rows[:size]]
        if len(rows) > size:
            answer["nextPageToken"] = page_token(rows[size - 1]["seq"])
        return Reply.json(answer)

    def update(self, call: Call) -> Reply:
        """Change when a cache expires; nothing else of it can be changed."""
        _of_version(call)
        cache = self._find(call)
        asked = call.message("CachedContent")
        mask = {snake(name.strip()) for name in call.text("updateMask").split(",") if name.strip()}
        if unknown := sorted(mask - _EXPIRATION - {"*"}):
            raise errors.invalid(f"Invalid update_mask: {unknown[0]} cannot be updated.")
        given = {name for name in ("ttl", "expireTime") if asked.get(name)}
        if not given or (mask and "*" not in mask and not mask & set(map(snake, given))):
            raise errors.invalid(
                "* UpdateCachedContentRequest.cached_content: one of ttl and expire_time must be set.\n"
            )
        self._caches.expire(cache["id"], _expires(asked, self._clock.now()))
        return Reply.json(_shown(self._find(call)))

    def delete(self, call: Call) -> Reply:
        """Delete a cache."""
        _of_version(call)
        self._caches.expire(self._find(call)["id"], self._clock.now())
        return Reply()

    def _find(self, call: Call) -> sqlite3.Row:
        return self._caches.find(call.names["cache"], call.owner)

    def _model(self, call: Call, name: str) -> str:
        """The name of the model that the cache is for. Raises :class:`errors.ApiFailure` if it cannot have any."""
        bare = name.removeprefix("models/")
        if bare == name and not name.startswith(models.TUNED):
            raise errors.invalid(f"* {_HERE}.model: unexpected model name format\n")
        method = "createCachedContent"
        models.serving(bare, "generate", now=self._clock.now(), version=call.version, method=method)
        if not models.has_caches(bare, lenient=self._engine.lenient):
            raise errors.no_model(bare, call.version, method)
        return bare

    def _check(self, call: Call, model: str, content: dict[str, Any]) -> None:
        found = broken_settings(_REQUEST, content, model=model)
        if "contents" in content:
            found += broken_contents(_REQUEST, content["contents"], model=model)
        said = next((one.said for one in found if one.certain or not self._engine.lenient), None)
        if said is not None:
            raise errors.invalid(said.replace(f"* {_REQUEST}", f"* {_HERE}", 1))
        try:
            Attachments(self._engine.files, call.owner).check(content)
        except MissingFile as error:
            raise errors.no_file(error.file_id) from None
        except RowError as error:
            raise errors.invalid(error.message) from None


def _of_version(call: Call) -> None:
    if call.version == "v1":
        raise errors.not_found("There are no cachedContents in v1, only in v1beta and v1alpha.")


def _expires(asked: dict[str, Any], now: int) -> int:
    """When a cache ends: at a time, after a duration, or after an hour."""
    if text := asked.get("expireTime"):
        expires = _moment(text)
    elif text := asked.get("ttl"):
        expires = now + round(float(text.removesuffix("s")) * SECOND)
    else:
        expires = now + _DEFAULT_LIFE
    if expires <= now:
        raise errors.invalid("The expiration of a cached content must be in the future.")
    # The year in which the clock's nanoseconds no longer fit the database.
    return min(expires, 2**62)


def _moment(text: str) -> int:
    """A timestamp in nanoseconds. Raises :class:`errors.ApiFailure` (400) for a day that does not exist."""
    seconds, point, rest = text.removesuffix("Z").partition(".")
    try:
        if point:
            digits = rest[: next((at for at, one in enumerate(rest) if one in "+-"), len(rest))]
            seconds += rest[len(digits) :]
        else:
            digits = ""
        moment = dt.datetime.fromisoformat(seconds)
        whole = (moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)) - _EPOCH
    except (ValueError, OverflowError):
        raise errors.invalid(f"Invalid value at 'cached_content.expire_time', \"{text}\"") from None
    return (whole.days * 86_400 + whole.seconds) * SECOND + int(digits.ljust(9, "0") or 0)


def _shown(row: sqlite3.Row) -> dict[str, Any]:
    """A cache as the API's ``CachedContent``, without its content, as the service shows it."""
    return {
        "name": PREFIX + row["id"],
        "model": models.resource(row["model"]),
        "createTime": rfc3339(row["created"]),
        "updateTime": rfc3339(row["updated"]),
        "expireTime": rfc3339(row["expires"]),
        "displayName": row["display_name"],
        "usageMetadata": {"totalTokenCount": row["tokens"]},
    }
