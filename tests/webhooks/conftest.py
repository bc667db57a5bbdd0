"""Deliveries signed in each way, by code that is not ours where there is some; and the public keys that check them."""

from __future__ import annotations

import base64
import datetime as dt
import json
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from jwt.algorithms import OKPAlgorithm, RSAAlgorithm
from standardwebhooks.webhooks import Webhook

if TYPE_CHECKING:
    from collections.abc import Mapping

NOW = 1_795_000_000
SECRET = "whsec_" + base64.b64encode(b"a secret that tests know, thirty").decode()
EVENT = {
    "type": "batch.succeeded",
    "version": "v1",
    "timestamp": "2026-11-18T00:53:20Z",
    "data": {"id": "batches/abc", "output_file_uri": "files/batch-abc"},
}
BODY = json.dumps(EVENT).encode()


@cache
def curve(name: str) -> Ed25519PrivateKey:
    del name
    return Ed25519PrivateKey.generate()


@cache
def rsa_key(name: str) -> rsa.RSAPrivateKey:
    del name
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def public(*names: str) -> list[dict[str, Any]]:
    """The public halves of the keys with these names, as the service publishes them."""
    found: list[dict[str, Any]] = []
    for name in names or ("ours",):
        found.append({**OKPAlgorithm.to_jwk(curve(name).public_key(), as_dict=True), "kid": f"curve-{name}"})
        found.append({**RSAAlgorithm.to_jwk(rsa_key(name).public_key(), as_dict=True), "kid": f"rsa-{name}"})
        found[-1].pop("key_ops", None)
    return found


def parsed(*names: str) -> list[jwt.PyJWK]:
    return [jwt.PyJWK(one) for one in public(*names)]


def raw(secret: str = SECRET) -> bytes:
    return base64.b64decode(secret.removeprefix("whsec_"))


@dataclass(frozen=True)
class Sent:
    """A delivery: its headers and body."""

    headers: Mapping[str, str]
    body: bytes = BODY

    def pairs(self) -> list[tuple[str, str]]:
        return list(self.headers.items())

    def but(self, **changes: str | None) -> Sent:
        """With other headers; None leaves one out. The names are without ``webhook-``."""
        headers = {**self.headers, **{f"webhook-{name}": value for name, value in changes.items()}}
        return Sent({name: value for name, value in headers.items() if value is not None}, self.body)


@dataclass(frozen=True)
class Sender:
    """Signs deliveries. ``kind``: ``v1``, ``v1a`` or ``token``."""

    kind: str
    secret: str = SECRET
    key: str = "ours"
    claims: Mapping[str, Any] = field(default_factory=dict)

    def send(self, *, message_id: str = "msg_1", at: int = NOW, body: bytes = BODY) -> Sent:
        """A delivery."""
        signature = getattr(self, self.kind)(message_id, at, body)
        headers = {"webhook-id": message_id, "webhook-timestamp": str(at), "webhook-signature": signature}
        return Sent(headers, body)

    def v1(self, message_id: str, at: int, body: bytes) -> str:
        """By the official library."""
        moment = dt.datetime.fromtimestamp(at, dt.UTC)
        return Webhook(self.secret).sign(message_id, moment, body.decode())

    def v1a(self, message_id: str, at: int, body: bytes) -> str:
        signed = f"{message_id}.{at}.".encode() + body
        return "v1a," + base64.b64encode(curve(self.key).sign(signed)).decode()

    def token(self, message_id: str, at: int, body: bytes) -> str:
        claims = {**json.loads(body), "iat": at, "exp": at + 300, "jti": message_id, **self.claims}
        return jwt.encode(claims, rsa_key(self.key), algorithm="RS256", headers={"kid": f"rsa-{self.key}"})
