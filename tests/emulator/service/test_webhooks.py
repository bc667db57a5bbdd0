"""Webhooks: registered by the official SDK, delivered when a job ends, signed, repeated, and only to this machine."""

from __future__ import annotations

import itertools
import json
import socket
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from emulator.conftest import Api, lines
from emulator.receiving import Receiver, deliveries, hook, receiving, settled, verified_by_key
from gemini_batch.emulator.engine.deliveries import FIRST_PAUSE, LIFE, may_receive, pause_after
from gemini_batch.emulator.http.admin import arm
from gemini_batch.emulator.http.server import serve
from gemini_batch.emulator.state.clock import DAY, SECOND

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from google.genai import Client
    from google.genai.webhooks import WebhookSubscribedEvent

EVENTS: list[WebhookSubscribedEvent] = ["batch.succeeded", "batch.failed", "batch.expired"]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as made:
        yield made


def sdk(api: Api) -> Client:
    """The official client with the same key."""
    from google import genai

    return genai.Client(api_key="a-key", http_options={"base_url": str(api.http.base_url)})


def register(api: Api, uri: str, events: list[str] | None = None, **fields: Any) -> dict[str, Any]:
    made = api.http.post("/v1beta/webhooks", json={"uri": uri, "subscribed_events": events or EVENTS, **fields})
    assert made.status_code == 200, made.text
    found: dict[str, Any] = made.json()
    return found


# Registered webhooks, with the SDK ------------------------------------------------------------------------------------


def test_the_sdk_registers_changes_and_deletes_a_webhook(world: Api, receiver: Receiver) -> None:
    """Everything that ``client.webhooks`` has."""
    client = sdk(world)
    made = client.webhooks.create(name="mine", uri=receiver.url, subscribed_events=EVENTS)
    assert made.id
    assert made.state == "enabled"
    assert made.new_signing_secret is not None
    assert made.new_signing_secret.startswith("whsec_")

    found = client.webhooks.get(id=made.id)
    assert (found.name, found.uri, found.subscribed_events) == ("mine", receiver.url, EVENTS)
    assert found.new_signing_secret is None
    assert found.signing_secrets is not None
    assert made.new_signing_secret.endswith(str(found.signing_secrets[0].truncated_secret)[-4:])

    client.webhooks.update(id=made.id, subscribed_events=["batch.failed"], update_mask="subscribed_events")
    changed = client.webhooks.update(id=made.id, state="disabled")
    assert (changed.name, changed.state, changed.subscribed_events) == ("mine", "disabled", ["batch.failed"])

    second = client.webhooks.create(uri=receiver.url, subscribed_events=EVENTS)
    first_page = client.webhooks.list(page_size=1)
    assert [one.id for one in first_page.webhooks or []] == [second.id]
    rest = client.webhooks.list(page_size=1, page_token=first_page.next_page_token)
    assert [one.id for one in rest.webhooks or []] == [made.id]
    assert rest.next_page_token is None

    client.webhooks.delete(id=made.id)
    with pytest.raises(Exception, match="not found"):
        client.webhooks.get(id=made.id)
    assert [one.id for one in client.webhooks.list().webhooks or []] == [second.id]


def test_a_ping_is_a_signed_delivery(world: Api, receiver: Receiver) -> None:
    client = sdk(world)
    made = client.webhooks.create(uri=receiver.url, subscribed_events=EVENTS)
    client.webhooks.ping(id=str(made.id))
    headers, body = receiver.next()
    event = Webhook(str(made.new_signing_secret)).verify(body, headers)
    assert event["type"] == "webhook.ping"


@pytest.mark.parametrize("behavior", ["revoke_previous_secrets_after_h24", "revoke_previous_secrets_immediately"])
def test_a_secret_is_replaced(world: Api, receiver: Receiver, behavior: Any) -> None:
    """For a day both are valid, or only the new one; after the day, only the new one."""
    client = sdk(world)
    made = client.webhooks.create(uri=receiver.url, subscribed_events=EVENTS)
    new = client.webhooks.rotate_signing_secret(id=str(made.id), revocation_behavior=behavior).secret

    def valid() -> list[bool]:
        client.webhooks.ping(id=str(made.id))
        headers, body = receiver.next()
        found = []
        for secret in (made.new_signing_secret, new):
            try:
                Webhook(str(secret)).verify(body, headers)
                found.append(True)
            except WebhookVerificationError:
                found.append(False)
        return found

    both = behavior.endswith("h24")
    assert valid() == [both, True]
    world.world.clock.advance(DAY / SECOND + 1)
    assert valid() == [False, True]


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({}, "uri: must be set"),
        ({"uri": "http://127.0.0.1/", "subscribed_events": []}, "subscribed_events: must be set"),
        ({"uri": "http://127.0.0.1/", "subscribed_events": ["batch.done"]}, "no event 'batch.done'"),
        ({"uri": "http://127.0.0.1/", "subscribed_events": "batch.failed"}, "list of strings"),
        ({"uri": "http://127.0.0.1/", "subscribed_events": [1]}, "list of strings"),
        ({"uri": "ftp://127.0.0.1/", "subscribed_events": EVENTS}, "http or https"),
        ({"uri": "nowhere", "subscribed_events": EVENTS}, "http or https"),
        ({"uri": 5, "subscribed_events": EVENTS}, "uri: must be a string"),
        ({"uri": "http://127.0.0.1/", "subscribed_events": EVENTS, "colour": "red"}, 'Unknown name \\"colour\\"'),
        ([], "must be an object"),
    ],
)
def test_a_webhook_that_cannot_be_registered(world: Api, body: Any, text: str) -> None:
    answer = world.http.post("/v1/webhooks", json=body)
    assert answer.status_code == 400
    assert text in answer.text
    assert world.http.get("/v1/webhooks").json() == {}


def test_a_webhook_is_another_projects_business(world: Api, other: Api, receiver: Receiver) -> None:
    made = register(world, receiver.url)
    for method, path in (
        ("GET", ""),
        ("PATCH", ""),
        ("DELETE", ""),
        ("POST", ":ping"),
        ("POST", ":rotateSigningSecret"),
    ):
        answer = other.http.request(method, f"/v1/webhooks/{made['id']}{path}", json={} if method != "GET" else None)
        assert answer.status_code == 404, (method, path)
    other.finish(other.begin(lines(1)))
    world.finish(world.begin(lines(1)))
    receiver.next()
    assert [one["state"] for one in settled(world, "delivered")] == ["delivered"]


def test_no_secret_is_shown_again(world: Api, receiver: Receiver) -> None:
    """Neither by the webhook's own calls nor by the emulator's routes."""
    made = register(world, receiver.url)
    secret = made["new_signing_secret"]
    new = world.http.post(f"/v1/webhooks/{made['id']}:rotateSigningSecret").json()["secret"]
    world.finish(world.begin(lines(1)))
    receiver.next()
    settled(world, "delivered")
    texts = [
        world.http.get("/v1/webhooks").text,
        world.http.get(f"/v1/webhooks/{made['id']}").text,
        world.http.patch(f"/v1/webhooks/{made['id']}", json={"name": "x"}).text,
        world.http.get("/emulator/webhooks").text,
        world.http.get("/emulator/accounting?keys=true").text,
    ]
    assert not [text for text in texts if secret in text or new in text or secret[6:] in text]


# What is delivered ----------------------------------------------------------------------------------------------------


def ended(api: Api, how: str, **batch: Any) -> str:
    """A job that ends this way; its name."""
    if how != "SUCCEEDED":
        arm(api.world, job=how, rows=0, code=13 if how == "FAILED" else None, message="It broke.")
    name = api.begin(lines(1), **batch)
    assert api.state(name) == how
    return name


@pytest.mark.parametrize("how", ["SUCCEEDED", "FAILED", "EXPIRED", "CANCELLED"])
@pytest.mark.parametrize("kind", ["registered", "own"])
def test_the_event_of_each_end(world: Api, receiver: Receiver, how: str, kind: str) -> None:
    """A pointer to the job, with a signature that others verify, too."""
    made = register(world, receiver.url, [*EVENTS, "batch.cancelled"]) if kind == "registered" else None
    name = ended(world, how, **({} if made else hook(receiver.url, group="nightly")))
    headers, body = receiver.next()
    if made:
        event = Webhook(made["new_signing_secret"]).verify(body, headers)
    else:
        assert verified_by_key(world, headers, body)
        assert not verified_by_key(world, headers, body + b" ")
        event = json.loads(body)
        assert event["user_metadata"] == {"group": "nightly"}
    data = {"id": name}
    if how == "SUCCEEDED":
        data["output_file_uri"] = world.get(name)["response"]["responsesFile"]
    if how == "FAILED":
        data |= {"error_code": 13, "error_message": "It broke."}  # type: ignore[dict-item]
    assert (event["type"], event["version"], event["data"]) == (f"batch.{how.lower()}", "v1", data)
    assert headers["content-type"] == "application/json"
    (found,) = settled(world, "delivered")
    assert (found["id"], found["job"], found["uri"]) == (headers["webhook-id"], name, receiver.url)
    assert [one["status"] for one in found["attempts"]] == [204]


def test_the_sdk_sets_the_webhook_of_one_job(world: Api, receiver: Receiver) -> None:
    """It is kept with the job, shown, and used instead of the registered ones; only subscribed events are delivered."""
    client = sdk(world)
    register(world, f"{receiver.url}/registered")
    register(world, f"{receiver.url}/failures", ["batch.failed"])
    row: Any = {"contents": [{"role": "user", "parts": [{"text": "Say hello."}]}]}
    job = client.batches.create(
        model="gemini-3.8-flash",
        src=[row],
        config={"webhook_config": {"uris": [f"{receiver.url}/own", f"{receiver.url}/too"], "user_metadata": {"a": 1}}},
    )
    shown = world.finish(str(job.name))["metadata"]["webhookConfig"]
    assert shown == {"uris": [f"{receiver.url}/own", f"{receiver.url}/too"], "userMetadata": {"a": 1}}
    found = settled(world, "delivered", "delivered", attempts=2)
    assert [one["uri"] for one in found] == shown["uris"]

    world.finish(world.begin(lines(1)))
    assert settled(world, *["delivered"] * 3, attempts=3)[-1]["uri"] == f"{receiver.url}/registered"


def test_a_deleted_job_is_not_announced(world: Api, receiver: Receiver) -> None:
    world.world.batches.queue_delay = 3600
    name = world.begin(lines(1), **hook(receiver.url))
    assert world.http.delete(f"/v1beta/{name}").status_code == 200
    world.world.batches.queue_delay = 0
    world.finish(world.begin(lines(1), **hook(receiver.url)))
    receiver.next()
    assert len(settled(world, "delivered")) == 1


# Attempts -------------------------------------------------------------------------------------------------------------


def test_the_pauses_grow_and_end_within_a_day() -> None:
    pauses = [pause_after(attempt) for attempt in range(1, 15)]
    assert pauses[0] == FIRST_PAUSE
    assert all(later == 2 * earlier for earlier, later in itertools.pairwise(pauses))
    assert sum(pauses[:13]) < LIFE < sum(pauses)


def test_a_delivery_is_repeated_with_the_same_id(world: Api, receiver: Receiver) -> None:
    """As the emulator's clock moves, until the receiver accepts it; each attempt has its own time and signature."""
    receiver.answers[:] = [500, 302, 404]
    world.finish(world.begin(lines(1), **hook(receiver.url)))
    seen = [receiver.next()]
    for attempt in range(1, 4):
        settled(world, "pending", attempts=attempt)
        assert receiver.nothing()
        world.world.clock.advance(pause_after(attempt) / SECOND)
        seen.append(receiver.next())
    (found,) = settled(world, "delivered", attempts=4)
    assert [one["status"] for one in found["attempts"]] == [500, 302, 404, 204]
    assert len({headers["webhook-id"] for headers, _ in seen}) == 1
    assert all(verified_by_key(world, headers, body) for headers, body in seen)


def test_after_a_day_it_is_given_up_and_the_webhook_disabled(world: Api, receiver: Receiver) -> None:
    made = register(world, receiver.url)
    receiver.answers[:] = [500] * 99
    world.finish(world.begin(lines(1)))
    attempt = 0
    while (found := settled_or_pending(world, attempt + 1))["state"] == "pending":
        attempt += 1
        world.world.clock.advance(pause_after(attempt) / SECOND)
    assert found["state"] == "given_up"
    assert len(found["attempts"]) == 14
    shown = world.http.get(f"/v1/webhooks/{made['id']}").json()
    assert shown["state"] == "disabled_due_to_failed_deliveries"

    receiver.answers.clear()
    world.finish(world.begin(lines(1)))
    assert len(deliveries(world)) == 1
    world.http.patch(f"/v1/webhooks/{made['id']}", json={"state": "enabled"})
    world.finish(world.begin(lines(1)))
    settled(world, "given_up", "delivered", attempts=15)


def settled_or_pending(api: Api, attempts: int) -> dict[str, Any]:
    end = time.monotonic() + 20
    while len((found := deliveries(api)) and found[0]["attempts"]) < attempts:
        assert time.monotonic() < end
        threading.Event().wait(0.01)
    return found[0]


def test_a_receiver_that_is_away_holds_up_nothing(world: Api, receiver: Receiver) -> None:
    """Neither the jobs nor other receivers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        uri = f"http://127.0.0.1:{listening.getsockname()[1]}/"
        world.finish(world.begin(lines(1), **hook(uri, receiver.url)))
        receiver.next()
        world.finish(world.begin(lines(1)))


def test_the_next_process_delivers_what_is_left(tmp_path: Path, receiver: Receiver) -> None:
    """What ended while no one delivered, and what no receiver has accepted."""
    key = {"x-goog-api-key": "a-key"}
    receiver.answers[:] = [500]
    with serve(tmp_path) as running, httpx2.Client(base_url=running.url, headers=key) as http:
        api = Api(http, running.emulator)
        api.finish(api.begin(lines(1), **hook(receiver.url)))
        first, _ = receiver.next()
        settled(api, "pending")
        public = http.get("/.well-known/jwks.json").json()
        running.emulator.deliveries.end()
        last = api.begin(lines(1), **hook(receiver.url))
        api.finish(last)
    with serve(tmp_path) as running, httpx2.Client(base_url=running.url, headers=key) as http:
        running.emulator.clock.advance(10)
        seen = [receiver.next()[0], receiver.next()[0]]
        assert first["webhook-id"] in [headers["webhook-id"] for headers in seen]
        found = settled(Api(http, running.emulator), "delivered", "delivered", attempts=3)
        assert found[1]["job"] == last
        assert http.get("/.well-known/jwks.json").json() == public


# Faults ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scenario", ["W4", "W6", "W7"])
def test_a_signature_by_secret_that_is_not_valid(world: Api, receiver: Receiver, scenario: str) -> None:
    """Wrong, missing or an hour old, and the official library refuses it; the next job's is valid."""
    arm(world.world, scenario=scenario)
    secret = register(world, receiver.url)["new_signing_secret"]
    world.finish(world.begin(lines(1)))
    headers, body = receiver.next()
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(body, headers)
    world.finish(world.begin(lines(1)))
    headers, body = receiver.next()
    assert Webhook(secret).verify(body, headers)["type"] == "batch.succeeded"


# Addresses ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("uri", "hosts", "allowed"),
    [
        ("http://127.0.0.1:8000/hook", (), True),
        ("http://127.9.9.9/", (), True),
        ("http://localhost/", (), True),
        ("http://LOCALHOST./", (), True),
        ("https://[::1]:1/", (), True),
        ("http://[::ffff:127.0.0.1]/", (), True),
        ("http://10.0.0.1/", (), False),
        ("http://0.0.0.0/", (), False),
        ("http://[::ffff:10.0.0.1]/", (), False),
        ("http://169.254.169.254/latest", (), False),
        ("http://example.com/", (), False),
        ("http://127.0.0.1.example.com/", (), False),
        ("http://localhost.example.com/", (), False),
        ("http://127.0.0.1@example.com/", (), False),
        ("http://user:password@127.0.0.1/", (), False),
        ("http://example.com#@127.0.0.1/", (), False),
        ("http://2130706433/", (), False),
        ("http://0x7f.1/", (), False),
        ("ftp://127.0.0.1/", (), False),
        ("file:///etc/passwd", (), False),
        ("//127.0.0.1/", (), False),
        ("", (), False),
        ("http://", (), False),
        ("http://[::1/", (), False),
        ("http://example.com/", ("example.com",), True),
        ("http://EXAMPLE.com:99/", ("example.com",), True),
        ("http://a.example.com/", ("example.com",), False),
    ],
)
def test_where_deliveries_may_go(uri: str, hosts: tuple[str, ...], allowed: bool) -> None:
    assert may_receive(uri, hosts) is allowed


def test_nothing_is_sent_to_another_machine(world: Api, receiver: Receiver) -> None:
    """It is withheld, and the list says why; a redirect to it is not followed either."""
    uris = ["http://192.0.2.1/", "http://receiver.test:1/", receiver.url]
    world.finish(world.begin(lines(1), **hook(*uris)))
    receiver.next()
    found = settled(world, "withheld", "withheld", "delivered", attempts=3)
    assert "--deliver-to" in found[0]["attempts"][0]["error"]


def test_an_allowed_host_is_called(tmp_path: Path) -> None:
    """It does not exist, so the attempt fails; but it was made."""
    with (
        serve(tmp_path, deliver_to=["receiver.invalid"]) as running,
        httpx2.Client(base_url=running.url, headers={"x-goog-api-key": "a-key"}) as http,
    ):
        api = Api(http, running.emulator)
        api.finish(api.begin(lines(1), **hook("http://receiver.invalid:1/")))
        (found,) = settled(api, "pending")
    assert "ConnectError" in found["attempts"][0]["error"]


def test_without_the_library_it_says_so(world: Api, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """The webhooks of one job cannot be signed; registered ones can."""
    monkeypatch.setitem(sys.modules, "jwt", None)
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.asymmetric", None)
    world.finish(world.begin(lines(1), **hook(receiver.url)))
    (found,) = settled(world, "withheld")
    assert "gemini-batch[webhooks]" in found["attempts"][0]["error"]
    answer = world.http.get("/.well-known/jwks.json")
    assert answer.status_code == 501
    assert "gemini-batch[webhooks]" in answer.text
    register(world, receiver.url)
    world.finish(world.begin(lines(1)))
    receiver.next()


def test_an_event_is_for_the_webhooks_of_its_time(world: Api, receiver: Receiver) -> None:
    """One that is registered, or enabled, a moment after the end receives nothing of it."""
    world.world.deliveries.end()  # nothing is announced by itself
    world.finish(world.begin(lines(1)))
    made = register(world, receiver.url)
    world.http.patch(f"/v1/webhooks/{made['id']}", json={"state": "disabled"})
    world.finish(world.begin(lines(1)))
    world.http.patch(f"/v1/webhooks/{made['id']}", json={"state": "enabled"})
    last = world.begin(lines(1))
    world.finish(last)
    world.http.patch(f"/v1/webhooks/{made['id']}", json={"state": "disabled"})
    assert [one["job"] for one in deliveries(world)] == [last]
