"""Whether a delivery is genuine: pure functions over its headers, its body, secrets, public keys and the time.

By the rules of Standard Webhooks, ``id.timestamp.body`` is signed: with the secret of a registered webhook (``v1``),
or with a key of the service (``v1a``). A JSON Web Token, which Google's guide describes instead of ``v1a``, vouches for
its claims only, so they are the event, and the body is not read.

What always holds: nothing of a delivery is believed before its signature was checked. A signature with a key of the
service proves that the service made it, not that it was meant for this receiver.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from gemini_batch.jsonl import NotJson, decode

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from jwt import PyJWK

#: Seconds that a delivery's time may differ from ours, as Standard Webhooks and Google's guide say.
TOLERANCE = 300
#: More signatures than the service sends while a secret is replaced.
_MOST_SIGNATURES = 10
_NAMES = ("webhook-id", "webhook-timestamp", "webhook-signature")
#: Visible ASCII. A full stop would leave open where the id ends in what is signed.
_ID = re.compile(r"[!-\-/-~]{1,256}")
_TIMESTAMP = re.compile(r"[1-9][0-9]{0,11}")
_TOKEN = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")

Reason = Literal[
    "headers_missing",
    "headers_malformed",
    "stale",
    "signature_wrong",
    "signature_unknown",
    "no_secret",
    "no_keys",
    "not_an_event",
    "too_large",
    "not_a_post",
    "too_slow",
]


class Refused(Exception):
    """A delivery that is not accepted: the reason, and the HTTP status that answers it."""

    def __init__(self, reason: Reason, status: int = 400) -> None:
        super().__init__(reason)
        self.reason: Reason = reason
        self.status = status


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery whose signature was checked."""

    id: str
    """Id of the delivery; repeated attempts have the same one."""
    timestamp: int
    """When it was sent, in seconds since 1970."""
    type: str
    """What happened, for example `batch.succeeded`."""
    job: str | None
    """The `id` in the event's data: the name of the job; null if there is none."""
    signature: Literal["v1", "v1a", "token"]
    """How it was signed: with a secret (`v1`), or with a key of the service (`v1a`, or a JSON Web Token)."""
    content: dict[str, Any]
    """The whole event, as the service sent it."""


@dataclass(frozen=True, slots=True)
class Message:
    """A delivery that is in form and in time, before its signature is checked."""

    id: str
    timestamp: int
    signatures: tuple[str, ...]
    body: bytes

    @property
    def needs_keys(self) -> bool:
        """Whether a signature can be checked only with a key of the service."""
        return any(one.startswith("v1a,") or _TOKEN.fullmatch(one) for one in self.signatures)

    @property
    def has_secret(self) -> bool:
        """Whether there is a signature with a secret."""
        return any(one.startswith("v1,") for one in self.signatures)

    @property
    def signed(self) -> bytes:
        """What is signed by Standard Webhooks."""
        return f"{self.id}.{self.timestamp}.".encode() + self.body


def read(headers: Iterable[tuple[str, str]], body: bytes, now: float) -> Message:
    """The message of a POST. Raises :class:`Refused` if a header is missing, malformed or out of time."""
    found: dict[str, list[str]] = {name: [] for name in _NAMES}
    for name, value in headers:
        if name.lower() in found:
            found[name.lower()].append(value.strip())
    if not all(found.values()):
        raise Refused("headers_missing")
    if any(len(values) > 1 for values in found.values()):
        raise Refused("headers_malformed")
    (message_id,), (timestamp,), (signature,) = (found[name] for name in _NAMES)
    signatures = tuple(signature.split())
    formed = _ID.fullmatch(message_id) and _TIMESTAMP.fullmatch(timestamp) and len(signatures) <= _MOST_SIGNATURES
    if not formed or not signatures:
        raise Refused("headers_malformed")
    if abs(now - int(timestamp)) > TOLERANCE:
        raise Refused("stale")
    return Message(message_id, int(timestamp), signatures, body)


def by_secret(message: Message, secrets: Sequence[bytes]) -> Delivery | None:
    """The delivery, if one of the secrets signed it. Raises :class:`Refused` if it is no event."""
    made = [hmac.digest(secret, message.signed, hashlib.sha256) for secret in secrets]
    for one in _versions(message, "v1"):
        if any([hmac.compare_digest(one, mine) for mine in made]):  # noqa: C419 - all are compared, whatever is found
            return _delivery(message.id, message.timestamp, "v1", _event(message.body))
    return None


def by_key(message: Message, keys: Sequence[PyJWK], now: float) -> Delivery | None:
    """The delivery, if one of the public keys checks it. Raises :class:`Refused` if it is no event."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    for signature in _versions(message, "v1a"):
        for key in keys:
            if isinstance(key.key, Ed25519PublicKey):
                try:
                    key.key.verify(signature, message.signed)
                except InvalidSignature:
                    continue
                return _delivery(message.id, message.timestamp, "v1a", _event(message.body))
    tokens = [one for one in message.signatures if _TOKEN.fullmatch(one)]
    return next((found for token in tokens if (found := _by_token(token, keys, now)) is not None), None)


def _by_token(token: str, keys: Sequence[PyJWK], now: float) -> Delivery | None:
    import jwt

    # Times are checked below, with the clock that tests replace.
    unchecked = {"verify_aud": False, "verify_exp": False, "verify_iat": False, "verify_nbf": False}
    options: Any = {**unchecked, "require": ["exp", "iat"]}
    for key in keys:
        if key.key_type != "RSA":
            continue
        try:
            claims = jwt.decode(token, key, algorithms=["RS256"], options=options)
        except jwt.InvalidTokenError:
            continue
        began, end = claims["iat"], claims["exp"]
        if not all(isinstance(one, (int, float)) and not isinstance(one, bool) for one in (began, end)):
            return None
        if end < now or abs(now - began) > TOLERANCE:
            raise Refused("stale")
        stated = claims.get("jti")
        # Nothing vouches for the header with the id.
        token_id = stated if isinstance(stated, str) and stated else hashlib.sha256(token.encode()).hexdigest()
        return _delivery(token_id, int(began), "token", _checked_event(claims))
    return None


def _versions(message: Message, version: str) -> list[bytes]:
    found = []
    for one in message.signatures:
        name, comma, text = one.partition(",")
        if comma and name == version:
            try:
                found.append(base64.b64decode(text, validate=True))
            except (binascii.Error, ValueError):
                continue
    return found


def _event(body: bytes) -> dict[str, Any]:
    try:
        return _checked_event(decode(body))
    except NotJson:
        raise Refused("not_an_event") from None


def _checked_event(value: object) -> dict[str, Any]:
    if not isinstance(value, dict) or not isinstance(value.get("type"), str):
        raise Refused("not_an_event")
    return value


def _delivery(
    delivery_id: str, timestamp: int, signature: Literal["v1", "v1a", "token"], event: dict[str, Any]
) -> Delivery:
    data = event.get("data")
    job = data.get("id") if isinstance(data, dict) else None
    return Delivery(
        id=delivery_id,
        timestamp=timestamp,
        type=event["type"],
        job=job if isinstance(job, str) else None,
        signature=signature,
        content=event,
    )
