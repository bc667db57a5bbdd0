"""Reads settings: flags take precedence over the environment, and that over a ``.env`` in the working folder.

The API key is kept in a :class:`Secret`, which no ``repr``, f-string or JSON encoder turns into text. A ``.env`` may
set the base URL only together with its own key; otherwise a file in a folder could send the user's key elsewhere.
"""

from __future__ import annotations

import base64
import binascii
import math
import os
import re
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from gemini_batch.errors import UsageError
from gemini_batch.vertex_place import Backend, VertexPlace, googles_word, read_place

if TYPE_CHECKING:
    from collections.abc import Mapping

GOOGLE_BASE_URL = "https://generativelanguage.googleapis.com"
#: ``v1beta`` has every batch method; the official SDK has used ``v1`` by default since 3.0.
API_VERSION = "v1beta"
KEY_NAMES = ("GOOGLE_API_KEY", "GEMINI_API_KEY")
#: All that a ``.env`` file may set. A file in a downloaded folder must not move the state folder, or shorten the time
#: for which an unanswered create is searched for: requests would be sent and paid for again.
DOTENV_NAMES = frozenset(
    {
        *KEY_NAMES,
        "GOOGLE_GEMINI_BASE_URL",
        "GOOGLE_GENAI_API_VERSION",
        "GEMINI_BATCH_OFFLINE",
        "GEMINI_BATCH_POLL",
    }
)
_OWN_PREFIX = "GEMINI_BATCH_"
WEBHOOK_VARIABLE = "GEMINI_WEBHOOK_SECRET"
#: Bytes of the shortest signing secret that is accepted; Standard Webhooks asks for 24 to 64.
_SHORTEST_SECRET = 16
#: Seconds; a job that is polled less often than once a day may lose its results.
LONGEST_PAUSE = 86_400.0
#: More than anybody means.
_MOST_USD = 1_000_000
_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"", "0", "false", "no", "off"})


_VERSION = re.compile(r"v[0-9][0-9a-z]*")
#: The characters of a key that an HTTP header can carry: visible ASCII.
_KEY = re.compile(r"[!-~]+")


class Secret:
    """A string that only :meth:`reveal` returns, and that cannot be pickled."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The text itself."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(…)"

    def __deepcopy__(self, _: object) -> Secret:
        return self  # `dataclasses.asdict` copies its values; the copy must stay secret

    def __reduce__(self) -> str:
        raise TypeError("a Secret is not written anywhere: it cannot be pickled")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that is set outside a command's own arguments.

    ``poll``: seconds between polls, None for the built-in backoff. ``settle``: seconds for which the job of an
    unanswered create is searched for before anything is resent. ``blank_base_url``: ``GOOGLE_GEMINI_BASE_URL`` is
    set but blank, which counts as unset; commands that spend money then say which address they use. ``ignored``: the
    variables of this program that a ``.env`` file sets but only the environment may set. ``max_usd_per_day``,
    ``max_usd_per_month``: what all runs of the state folder may cost in a UTC day and month. ``vertex``: Vertex AI is
    the backend, in this place; None: the Gemini Developer API is. ``googles_word``: the variable, if any, that makes
    Google's libraries use Vertex AI.
    """

    home: Path
    base_url: str = GOOGLE_BASE_URL
    api_version: str = API_VERSION
    api_key: Secret | None = None
    offline: bool = False
    poll: float | None = None
    settle: float = 30.0
    blank_base_url: bool = False
    ignored: tuple[str, ...] = ()
    max_usd_per_day: Decimal | None = None
    max_usd_per_month: Decimal | None = None
    vertex: VertexPlace | None = None
    googles_word: str = ""

    def require_key(self) -> Secret:
        """The API key. Raises UsageError, which says what to type, if there is none."""
        if self.api_key is None:
            raise UsageError(
                "No API key: neither GOOGLE_API_KEY nor GEMINI_API_KEY is set, here or in a .env file.",
                code="no_api_key",
                next=f"{self.googles_word} is set: add --backend vertex, or type `export GEMINI_API_KEY=…`."
                if self.googles_word
                else "Type `export GEMINI_API_KEY=…`, or add --offline to try everything without a key.",
            )
        return self.api_key


def _flag(name: str, text: str) -> bool:
    word = text.strip().lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise UsageError(f"{name}={text!r} is neither yes nor no.", next=f"Set {name}=1, or unset it.", code="bad_setting")


def _seconds(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= LONGEST_PAUSE:  # nan is neither
        raise UsageError(
            f"{name}={text!r} is not a number of seconds from 0 to {LONGEST_PAUSE:,.0f}.",
            next=f"Set, for example, {name}=30.",
            code="bad_setting",
        )
    return value


def checked_usd(value: object, name: str) -> Decimal:
    """An amount of USD from what a caller or a variable says. Raises UsageError if it is not a positive number."""
    try:
        amount = Decimal(str(value).strip().removeprefix("$"))
    except InvalidOperation:
        amount = Decimal("NaN")
    if not (amount.is_finite() and 0 < amount <= _MOST_USD):
        raise UsageError(
            f"{value} is not an amount of USD: a number above 0 is needed.",
            field=name,
            next="Write it like 5 or 0.25.",
            code="bad_argument" if name.startswith("--") else "bad_setting",
        )
    return amount


def _read_dotenv(folder: Path) -> tuple[dict[str, str], tuple[str, ...]]:
    """What the file sets of what it may set; and the names of this program's other variables in it."""
    path = folder / ".env"
    if not path.is_file():
        return {}, ()
    from dotenv import dotenv_values

    try:
        # Values are literal: a file that could expand variables could send any secret of the environment to the address
        # that it also sets. `-sig`: editors on Windows write a byte order mark before the first name.
        found = dotenv_values(path, interpolate=False, encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"The .env file cannot be read: {error}.", file=path, code="bad_dotenv", next="Save it as UTF-8 text."
        ) from None
    ours = {name: value for name, value in found.items() if value is not None and name in DOTENV_NAMES}
    for name, value in ours.items():
        if "${" in value:
            raise UsageError(
                "Variables are not expanded in a .env file; values are literal.",
                file=path,
                field=name,
                code="bad_dotenv",
                next="Write the value itself, or export it in the shell.",
            )
    return ours, tuple(name for name in found if name.startswith(_OWN_PREFIX) and name not in DOTENV_NAMES)


def checked_base_url(text: str, where: str = "the settings") -> str:
    """A base URL without its trailing slash. Raises UsageError if it is not a plain http:// or https:// address."""
    text = text.strip()
    try:
        parts = urlsplit(text)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and not (parts.query or parts.fragment)
        _ = parts.port
    except ValueError:
        usable = False
    if not usable or not _KEY.fullmatch(text) or any(sign in text for sign in "@\\?#"):
        raise UsageError(
            f"GOOGLE_GEMINI_BASE_URL in {where} is not a plain http:// or https:// address: {_without_login(text)!r}.",
            next=f"Write it like {GOOGLE_BASE_URL}, or unset it.",
            code="bad_setting",
        )
    return text.rstrip("/")


def _without_login(text: str) -> str:
    """An address for a message, without the part before an ``@``, which may be a password."""
    return re.sub(r"^(\w+://)?.*@", r"\1…@", text)


def checked_key(key: Secret) -> Secret:
    """The key, if a request can carry it. Otherwise raises UsageError, which does not show the key."""
    if not _KEY.fullmatch(key.reveal()):
        raise UsageError(
            "The API key is empty or has characters that no key has (spaces, line endings or non-ASCII).",
            code="bad_api_key",
            next="Copy it again, without quotation marks or line endings.",
        )
    return key


def checked_webhook_url(text: str) -> None:
    """Check the public address of a webhook. Raises UsageError if it is not a plain http:// or https:// address."""
    try:
        parts = urlsplit(text)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and not parts.fragment
        _ = parts.port
    except ValueError:
        usable = False
    if not usable or not _KEY.fullmatch(text) or any(sign in text for sign in "@\\"):
        raise UsageError(
            f"{_without_login(text)!r} is not the address of a webhook.",
            field="--webhook-url",
            code="bad_argument",
            next="Write it like https://example.com/hook, without a user name or a password.",
        )


def webhook_secrets(env: Mapping[str, str] | None = None) -> list[WebhookSecret]:
    """The signing secrets in ``GEMINI_WEBHOOK_SECRET``, separated by spaces; only the environment may set them.

    Raises UsageError, which does not show the secret, if one is unusable.
    """
    text = (os.environ if env is None else env).get(WEBHOOK_VARIABLE, "")
    return [WebhookSecret(one) for one in text.split()]


class WebhookSecret:
    """The signing secret of a registered webhook: ``whsec_`` and base64. Only :meth:`reveal` returns its bytes."""

    __slots__ = ("_value",)

    def __init__(self, text: str) -> None:
        encoded = text.removeprefix("whsec_")
        try:
            value = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
        except (binascii.Error, ValueError):
            value = b""
        if len(value) < _SHORTEST_SECRET:
            raise UsageError(
                f"{WEBHOOK_VARIABLE} is not the signing secret of a webhook.",
                code="bad_webhook_secret",
                next="Copy it again: the answer that created the webhook has it, as new_signing_secret.",
            )
        self._value = value

    def reveal(self) -> bytes:
        """The key itself."""
        return self._value

    def __repr__(self) -> str:
        return "WebhookSecret(…)"

    def __reduce__(self) -> str:
        raise TypeError("a secret is not written anywhere: it cannot be pickled")


def _api_version(text: str) -> str:
    if not _VERSION.fullmatch(text):
        raise UsageError(
            f"GOOGLE_GENAI_API_VERSION={text!r} is not an API version.",
            next=f"Set it to, for example, {API_VERSION}, or unset it.",
            code="bad_setting",
        )
    return text


def _state_folder(home: Path | None, text: str | None) -> Path:
    stated = home or (Path(text) if text else None)
    try:
        return (stated.expanduser() if stated else default_home()).absolute()
    except RuntimeError as error:  # `~name` of an unknown user
        raise UsageError(
            f"The state folder {str(stated)!r} cannot be found: {error}",
            next="Set GEMINI_BATCH_HOME to a full path, or unset it.",
            code="bad_setting",
        ) from None


def _value(source: Mapping[str, str], name: str) -> str | None:
    """The value of a variable, or None if it is unset or blank."""
    text = source.get(name)
    return text if text and not text.isspace() else None


def _is_blank(name: str, *sources: Mapping[str, str]) -> bool:
    """Whether the variable is blank in the first source that has it."""
    text = next((source[name] for source in sources if name in source), None)
    return text is not None and not text.strip()


def _usd(source: Mapping[str, str], name: str) -> Decimal | None:
    text = _value(source, name)
    return None if text is None else checked_usd(text, name)


def _key(source: Mapping[str, str]) -> str | None:
    return next((found.strip() for name in KEY_NAMES if (found := _value(source, name))), None)


def load_settings(
    env: Mapping[str, str] | None = None,
    folder: Path | None = None,
    *,
    offline: bool | None = None,
    poll: float | None = None,
    home: Path | None = None,
    backend: Backend | None = None,
    project: str | None = None,
    location: str | None = None,
    bucket: str | None = None,
) -> Settings:
    """Read settings from flags, ``env`` (default: the process's) and ``folder/.env`` (default: the working folder).

    ``backend``: ``gemini`` (the default) or ``vertex``, with its ``project``, ``location`` and ``bucket``. A variable
    that is set but blank counts as unset. Raises UsageError for an invalid value.
    """
    environment = os.environ if env is None else env
    dotenv, ignored = _read_dotenv(folder or Path.cwd())

    def setting(name: str) -> str | None:
        return _value(environment, name) or _value(dotenv, name)

    env_key, file_key = _key(environment), _key(dotenv)
    if offline is None:
        offline = _flag("GEMINI_BATCH_OFFLINE", setting("GEMINI_BATCH_OFFLINE") or "")
    base_url = GOOGLE_BASE_URL
    if stated := _value(environment, "GOOGLE_GEMINI_BASE_URL"):
        base_url = checked_base_url(stated, "the environment")
    elif moved := _value(dotenv, "GOOGLE_GEMINI_BASE_URL"):
        # A key that the file itself contains is not secret from the file.
        if env_key in {None, file_key}:
            base_url = checked_base_url(moved, ".env")
        elif not offline:  # offline, no key is sent and the address does not matter
            raise UsageError(
                "The .env file sets GOOGLE_GEMINI_BASE_URL, but the API key comes from the environment. "
                "A key from the environment is not sent to an address from a file.",
                file=(folder or Path.cwd()) / ".env",
                field="GOOGLE_GEMINI_BASE_URL",
                code="base_url_without_key",
                next="Put the key for that address in the same .env file (and unset it in the environment), "
                "or export GOOGLE_GEMINI_BASE_URL yourself.",
            )
    key = env_key or file_key
    poll_text, settle_text = setting("GEMINI_BATCH_POLL"), setting("GEMINI_BATCH_SETTLE")
    return Settings(
        home=_state_folder(home, setting("GEMINI_BATCH_HOME")),
        base_url=base_url,
        api_version=_api_version(setting("GOOGLE_GENAI_API_VERSION") or API_VERSION),
        api_key=None if key is None else checked_key(Secret(key)),
        offline=offline,
        poll=_seconds("poll", str(poll))
        if poll is not None
        else (_seconds("GEMINI_BATCH_POLL", poll_text) if poll_text else None),
        settle=_seconds("GEMINI_BATCH_SETTLE", settle_text) if settle_text else 30.0,
        blank_base_url=_is_blank("GOOGLE_GEMINI_BASE_URL", environment, dotenv),
        ignored=ignored,
        max_usd_per_day=_usd(environment, "GEMINI_BATCH_MAX_USD_PER_DAY"),
        max_usd_per_month=_usd(environment, "GEMINI_BATCH_MAX_USD_PER_MONTH"),
        vertex=read_place(
            environment, backend, project=project, location=location, bucket=bucket, keyed=key is not None, free=offline
        ),
        googles_word=googles_word(environment),
    )


def would_be_offline(settings: Settings | None, offline: bool | None) -> bool:
    """Whether a call that asks would ask the emulator; False for settings that cannot be meant."""
    if offline is not None:
        return offline
    try:
        return (settings or load_settings()).offline
    except UsageError:
        return False


def default_home() -> Path:
    """The platform's folder for user data."""
    import platformdirs

    return platformdirs.user_data_path("gemini-batch", appauthor=False)
