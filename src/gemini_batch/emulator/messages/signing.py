"""How webhooks are signed: with a shared secret, or with keys whose public half anyone can fetch.

By the rules of Standard Webhooks, ``id.timestamp.body`` is signed: ``v1`` is HMAC-SHA256 with the secret of a
registered webhook, ``v1a`` is Ed25519. Google's guide describes a third kind for the webhooks of one job, a JSON Web
Token (RS256), but what arrives has been observed to be ``v1a``. Keys need PyJWT, which is loaded when it is needed.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

#: What every secret of the service begins with.
PREFIX = "whsec_"
NEEDS = "PyJWT is not installed, which signs the webhooks of one job: pip install 'gemini-batch[webhooks]'"
_ISSUER = "https://generativelanguage.googleapis.com"
#: How long a token is valid, in seconds.
_TOKEN_LIFE = 300


class NoLibraryError(Exception):
    """PyJWT is missing."""

    def __init__(self) -> None:
        super().__init__(NEEDS)


def new_secret() -> str:
    """A secret as the service makes them: the prefix, and 32 bytes as base64."""
    return PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def truncated(secret: str) -> str:
    """A secret as it is shown later."""
    return f"{PREFIX}...{secret[-4:]}"


def with_secret(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """The signature ``v1,…``."""
    key = base64.b64decode(secret.removeprefix(PREFIX))
    return f"v1,{_text(hmac.digest(key, _signed(message_id, timestamp, body), hashlib.sha256))}"


class Keys:
    """The two key pairs of one emulator, from their stored form. Raises :class:`NoLibraryError`."""

    def __init__(self, stored: Mapping[str, bytes]) -> None:
        try:
            import jwt  # noqa: F401 - it is missed here, not in the middle of a delivery
            from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
            from cryptography.hazmat.primitives.serialization import load_der_private_key
        except ImportError:
            raise NoLibraryError from None
        self._curve: Ed25519PrivateKey = Ed25519PrivateKey.from_private_bytes(stored["ed25519"])
        rsa: Any = load_der_private_key(stored["rsa"], None)
        self._rsa: RSAPrivateKey = rsa

    @staticmethod
    def new() -> dict[str, bytes]:
        """New key pairs, in their stored form. Raises :class:`NoLibraryError`."""
        try:
            from cryptography.hazmat.primitives import serialization
            from cryptography.hazmat.primitives.asymmetric import rsa
        except ImportError:
            raise NoLibraryError from None
        made = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        der = made.private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return {"ed25519": secrets.token_bytes(32), "rsa": der}

    def sign(self, message_id: str, timestamp: int, body: bytes) -> str:
        """The signature ``v1a,…``."""
        return f"v1a,{_text(self._curve.sign(_signed(message_id, timestamp, body)))}"

    def token(self, message_id: str, timestamp: int, body: bytes, audience: str) -> str:
        """The JSON Web Token of Google's guide; its claims are the event."""
        import jwt

        claims = {
            **json.loads(body),
            "iss": _ISSUER,
            "aud": audience,
            "iat": timestamp,
            "exp": timestamp + _TOKEN_LIFE,
            "jti": message_id,
        }
        return jwt.encode(claims, self._rsa, algorithm="RS256", headers={"kid": self.public()[1]["kid"]})

    def public(self) -> list[dict[str, Any]]:
        """The public keys as JSON Web Keys: Ed25519, RSA."""
        from jwt.algorithms import OKPAlgorithm, RSAAlgorithm

        shown = [
            OKPAlgorithm.to_jwk(self._curve.public_key(), as_dict=True) | {"alg": "EdDSA"},
            RSAAlgorithm.to_jwk(self._rsa.public_key(), as_dict=True) | {"alg": "RS256"},
        ]
        for key in shown:
            key.pop("key_ops", None)
            named = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
            key |= {"use": "sig", "kid": named[:16]}
        return shown


def _signed(message_id: str, timestamp: int, body: bytes) -> bytes:
    return f"{message_id}.{timestamp}.".encode() + body


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
