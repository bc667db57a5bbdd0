"""Which deliveries are genuine: a table over the kinds of signatures and everything that can be wrong with them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import TYPE_CHECKING, Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook

from gemini_batch.emulator.messages import signing
from gemini_batch.errors import UsageError
from gemini_batch.settings import webhook_secrets
from gemini_batch.webhooks.keys import Keys
from gemini_batch.webhooks.receiver import Verifier
from gemini_batch.webhooks.signatures import TOLERANCE, Refused
from webhooks.conftest import BODY, EVENT, NOW, SECRET, Sender, Sent, parsed, public, raw, rsa_key

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gemini_batch.webhooks.signatures import Delivery

KINDS = ["v1", "v1a", "token"]
OTHER = "whsec_" + base64.b64encode(b"another secret, which nobody has").decode()


class Published(Keys):
    """Public keys that are at hand; ``later`` are those that are there when they are fetched again."""

    def __init__(self, *names: str, later: Sequence[str] | None = None) -> None:
        super().__init__("http://127.0.0.1:9", lambda: 0.0)
        self._names, self._later = names, later

    def known(self) -> list[jwt.PyJWK]:
        return parsed(*self._names)

    def newer(self) -> list[jwt.PyJWK] | None:
        return None if self._later is None else parsed(*self._later)


def verifier(*, secrets: Sequence[str] = (SECRET,), keys: Keys | None = None, now: float = NOW) -> Verifier:
    return Verifier([raw(one) for one in secrets], keys or Published("ours"), lambda: now)


def check(sent: Sent, **how: Any) -> Delivery | None:
    return verifier(**how).check(sent.pairs(), sent.body)


@pytest.mark.parametrize("kind", KINDS)
def test_a_genuine_delivery(kind: str) -> None:
    found = check(Sender(kind).send())
    assert found is not None
    assert (found.id, found.timestamp, found.signature) == ("msg_1", NOW, kind)
    assert (found.type, found.job) == ("batch.succeeded", "batches/abc")
    assert found.content.items() >= EVENT.items()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("age", "reason"),
    [
        (0, None),
        (TOLERANCE, None),
        (-TOLERANCE, None),
        (TOLERANCE + 1, "stale"),
        (-TOLERANCE - 1, "stale"),
        (86_400, "stale"),
        (NOW - 1, "stale"),
    ],
)
def test_the_time(kind: str, age: int, reason: str | None) -> None:
    """Five minutes, in both directions."""
    sent = Sender(kind).send(at=NOW - age)
    if reason is None:
        assert check(sent) is not None
    else:
        refused(sent, reason)


def refused(sent: Sent, reason: str, **how: Any) -> None:
    with pytest.raises(Refused) as caught:
        check(sent, **how)
    assert caught.value.reason == reason
    assert 400 <= caught.value.status < 600


@pytest.mark.parametrize("kind", ["v1", "v1a"])
@pytest.mark.parametrize(
    "change",
    [
        lambda sent: Sent(sent.headers, sent.body + b" "),
        lambda sent: Sent(sent.headers, sent.body.replace(b"abc", b"abd")),
        lambda sent: Sent(sent.headers, b""),
        lambda sent: sent.but(id="msg_2"),
        lambda sent: sent.but(timestamp=str(NOW + 1)),
        lambda sent: sent.but(signature=sent.headers["webhook-signature"][:-4] + "AAA="),
        lambda sent: sent.but(signature=sent.headers["webhook-signature"].partition(",")[0] + ","),
        lambda sent: sent.but(signature=sent.headers["webhook-signature"].partition(",")[0] + ",!!!"),
        lambda sent: sent.but(signature=sent.headers["webhook-signature"].partition(",")[0] + ",ä"),
    ],
    ids=["one more byte", "another job", "no body", "id", "time", "end", "none", "text", "ä"],
)
def test_whatever_is_signed_cannot_be_changed(kind: str, change: Any) -> None:
    refused(change(Sender(kind).send()), "signature_wrong")


@pytest.mark.parametrize(
    ("sender", "how", "reason"),
    [
        (Sender("v1", secret=OTHER), {}, "signature_wrong"),
        (Sender("v1"), {"secrets": ()}, "no_secret"),
        (Sender("v1"), {"secrets": (OTHER,)}, "signature_wrong"),
        (Sender("v1a", key="theirs"), {}, "signature_wrong"),
        (Sender("v1a", key="theirs"), {"keys": Published("ours", later=["ours"])}, "signature_wrong"),
        (Sender("token", key="theirs"), {}, "signature_wrong"),
        (Sender("token", claims={"exp": NOW - 1}), {}, "stale"),
        (Sender("token", claims={"iat": NOW - TOLERANCE - 1}), {}, "stale"),
        (Sender("token", claims={"iat": NOW + TOLERANCE + 1}), {}, "stale"),
        (Sender("token", claims={"iat": "yesterday"}), {}, "signature_wrong"),
        (Sender("token", claims={"exp": True}), {}, "signature_wrong"),
        (Sender("token", claims={"type": None}), {}, "not_an_event"),
    ],
)
def test_who_signed(sender: Sender, how: dict[str, Any], reason: str) -> None:
    refused(sender.send(), reason, **how)


@pytest.mark.parametrize(
    ("sender", "how"),
    [
        (Sender("v1", secret=OTHER), {"secrets": (SECRET, OTHER)}),
        (Sender("v1"), {"secrets": (SECRET, OTHER)}),
        (Sender("v1a", key="theirs"), {"keys": Published("ours", "theirs")}),
        (Sender("v1a", key="theirs"), {"keys": Published("ours", later=["theirs"])}),
        (Sender("token", key="theirs"), {"keys": Published("ours", later=["theirs"])}),
        (Sender("v1a"), {"secrets": ()}),
    ],
)
def test_one_of_several_secrets_or_keys_is_enough(sender: Sender, how: dict[str, Any]) -> None:
    """Also while they are being replaced."""
    assert check(sender.send(), **how) is not None


@pytest.mark.parametrize("kind", ["v1", "v1a"])
@pytest.mark.parametrize("order", [1, -1])
def test_one_of_several_signatures_is_enough(kind: str, order: int) -> None:
    good = Sender(kind).send()
    bad = Sender(kind, secret=OTHER, key="theirs").send().headers["webhook-signature"]
    both = [good.headers["webhook-signature"], bad, "v9,eA==", "nonsense"]
    assert check(good.but(signature=" ".join(both[::order]))) is not None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({"id": None}, "headers_missing"),
        ({"timestamp": None}, "headers_missing"),
        ({"signature": None}, "headers_missing"),
        ({"id": ""}, "headers_malformed"),
        ({"id": "a.b"}, "headers_malformed"),
        ({"id": "a b"}, "headers_malformed"),
        ({"id": "ä"}, "headers_malformed"),
        ({"id": "x" * 257}, "headers_malformed"),
        ({"timestamp": ""}, "headers_malformed"),
        ({"timestamp": "now"}, "headers_malformed"),
        ({"timestamp": f"-{NOW}"}, "headers_malformed"),
        ({"timestamp": f"+{NOW}"}, "headers_malformed"),
        ({"timestamp": f"{NOW}.0"}, "headers_malformed"),
        ({"timestamp": "1.795e9"}, "headers_malformed"),
        ({"timestamp": "٣"}, "headers_malformed"),
        ({"timestamp": f"0{NOW}"}, "headers_malformed"),
        ({"timestamp": "9" * 13}, "headers_malformed"),
        ({"signature": ""}, "headers_malformed"),
        ({"signature": "   "}, "headers_malformed"),
        ({"signature": " ".join(["v1,eA=="] * 11)}, "headers_malformed"),
        ({"signature": "eA=="}, "signature_unknown"),
        ({"signature": "v2,eA=="}, "signature_unknown"),
        ({"signature": "v1"}, "signature_unknown"),
        ({"signature": "V1,eA=="}, "signature_unknown"),
        ({"signature": "sha256=eA=="}, "signature_unknown"),
    ],
)
def test_headers_that_are_no_delivery(kind: str, headers: dict[str, str | None], reason: str) -> None:
    refused(Sender(kind).send().but(**headers), reason)


@pytest.mark.parametrize("name", ["Webhook-Id", "WEBHOOK-TIMESTAMP", "webhook-signature"])
def test_a_header_twice(name: str) -> None:
    """Whatever the second one says, and however it is spelled."""
    sent = Sender("v1").send()
    pairs = [*sent.pairs(), (name, sent.headers[name.lower()])]
    with pytest.raises(Refused) as caught:
        verifier().check(pairs, sent.body)
    assert caught.value.reason == "headers_malformed"


@pytest.mark.parametrize("kind", ["v1", "v1a"])
@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"{}", b'{"type": 5}', b'"batch.succeeded"'])
def test_signed_content_that_is_no_event(kind: str, body: bytes) -> None:
    refused(Sender(kind).send(body=body), "not_an_event")


@pytest.mark.parametrize("data", [None, [], {}, {"id": 5}, "abc"])
def test_an_event_without_a_job(data: object) -> None:
    found = check(Sender("v1").send(body=json.dumps({"type": "something.new", "data": data}).encode()))
    assert found is not None
    assert (found.type, found.job) == ("something.new", None)


@pytest.mark.parametrize("kind", KINDS)
def test_a_delivery_counts_once(kind: str) -> None:
    """A repeated attempt has a new time and signature; its id is what is remembered. A forged one takes no id."""
    checking = verifier()
    first, again = Sender(kind).send(), Sender(kind).send(at=NOW + 60)
    forged = Sender(kind, secret=OTHER, key="theirs").send()
    with pytest.raises(Refused):
        checking.check(forged.pairs(), forged.body)
    assert checking.check(first.pairs(), first.body) is not None
    assert checking.check(first.pairs(), first.body) is None
    assert checking.check(again.pairs(), again.body) is None
    other = Sender(kind).send(message_id="msg_2")
    assert checking.check(other.pairs(), other.body) is not None


def test_a_token_vouches_only_for_its_claims() -> None:
    """Not for the body, not for the other headers."""
    sent = Sent(Sender("token").send().but(id="other").headers, BODY.replace(b"succeeded", b"failed"))
    checking = verifier()
    found = checking.check(sent.pairs(), sent.body)
    assert found is not None
    assert (found.id, found.type) == ("msg_1", "batch.succeeded")
    replayed = sent.but(id="third")
    assert checking.check(replayed.pairs(), b"{}") is None


def test_a_token_of_another_algorithm() -> None:
    """`none`, and a public key that is used as a secret, are the usual forgeries."""
    claims = {**EVENT, "iat": NOW, "exp": NOW + 300}
    (entry,) = [one for one in public() if one["kty"] == "RSA"]
    number = base64.urlsafe_b64decode(entry["n"] + "==")
    parts = [
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=")
        for part in ({"alg": "HS256", "kid": entry["kid"]}, claims)
    ]
    signature = hmac.digest(number, b".".join(parts), hashlib.sha256)
    hs256 = b".".join([*parts, base64.urlsafe_b64encode(signature).rstrip(b"=")]).decode()
    unsigned = jwt.encode(claims, None, algorithm="none")  # type: ignore[arg-type]
    tokens = [unsigned + "AA", hs256, jwt.encode(claims, rsa_key("ours"), "RS512")]
    for token in tokens:
        refused(Sender("v1").send().but(signature=token), "signature_wrong")


def test_a_signature_without_the_library_is_refused() -> None:
    sent = Sender("v1a").send()
    with pytest.raises(Refused) as caught:
        Verifier([raw()], None, lambda: NOW).check(sent.pairs(), sent.body)
    assert (caught.value.reason, caught.value.status) == ("no_keys", 401)


# With other implementations -------------------------------------------------------------------------------------------


@given(st.text(), st.text(alphabet="abcXYZ019_-", min_size=1, max_size=40))
def test_what_the_official_library_signs_is_accepted(text: str, message_id: str) -> None:
    """Whatever the event holds."""
    body = json.dumps({"type": text}, ensure_ascii=False).encode("utf-8", "backslashreplace")
    found = check(Sender("v1").send(message_id=message_id, body=body))
    assert found is not None
    assert found.id == message_id


def test_what_the_emulator_signs_is_accepted() -> None:
    """By both sides, in all three ways; the secret is one that the official library takes."""
    secret = signing.new_secret()
    assert Webhook(secret)
    keys = signing.Keys(signing.Keys.new())

    class Fetched(Published):
        def known(self) -> list[jwt.PyJWK]:
            return [jwt.PyJWK(one) for one in keys.public()]

    signatures = {
        "v1": signing.with_secret(secret, "msg_1", NOW, BODY),
        "v1a": keys.sign("msg_1", NOW, BODY),
        "token": keys.token("msg_1", NOW, BODY, "https://example.com/"),
    }
    for kind, signature in signatures.items():
        found = check(Sender("v1").send().but(signature=signature), secrets=(secret,), keys=Fetched())
        assert found is not None
        assert found.signature == kind


# Secrets --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "count"),
    [("", 0), ("   ", 0), (SECRET, 1), (SECRET.removeprefix("whsec_"), 1), (f"{SECRET}  {OTHER}\n", 2)],
)
def test_secrets_in_the_environment(text: str, count: int) -> None:
    found = webhook_secrets({"GEMINI_WEBHOOK_SECRET": text})
    assert len(found) == count
    assert all(len(one.reveal()) == 32 for one in found)
    assert SECRET[6:] not in repr(found)


@pytest.mark.parametrize("text", ["whsec_", "whsec_c2hvcnQ=", "whsec_ä", "no_base64!", "whpk_" + "A" * 44, "A" * 45])
def test_what_is_no_secret(text: str) -> None:
    """It is not shown either."""
    with pytest.raises(UsageError) as caught:
        webhook_secrets({"GEMINI_WEBHOOK_SECRET": text})
    assert caught.value.reason_code == "bad_webhook_secret"
    assert text.split(maxsplit=1)[0] not in str(caught.value)
