"""Tiers of ordinary calls: what is accepted, what is answered, what is paid, and what is refused for load."""

from __future__ import annotations

import datetime as dt
import sqlite3
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from emulator.conftest import EMBEDDER, MODEL, Api
from emulator.tiers import ask, paid, tier_of
from gemini_batch import catalog
from gemini_batch.emulator.faults.armed import Armed
from gemini_batch.emulator.faults.model import WireFault
from gemini_batch.emulator.http.server import serve
from gemini_batch.emulator.messages.errors import ApiFailure
from gemini_batch.emulator.state.clock import SECOND
from gemini_batch.emulator.state.rates import KINDS, Rates
from gemini_batch.emulator.state.store import _MIGRATIONS
from gemini_batch.prices import Kind

if TYPE_CHECKING:
    from pathlib import Path

CALL = f"/v1beta/models/{MODEL}:generateContent"
HELLO = [{"parts": [{"text": "Hello."}]}]


def account(api: Api) -> dict[str, Any]:
    found: dict[str, Any] = api.http.get("/emulator/accounting").json()
    return found


SERVED: dict[str, tuple[Any, ...]] = {
    "flex": ("flex", "FLEX", "Flex", 2),
    "standard": (None, "unspecified", "UNSPECIFIED", 0, "standard", 1),
    "priority": ("priority", 3),
}


def test_the_spellings_of_a_tier(world: Api) -> None:
    for name in ("serviceTier", "service_tier"):
        for served, values in SERVED.items():
            for value in values:
                answer = world.http.post(CALL, json={"contents": HELLO, name: value})
                assert tier_of(answer) == served, (name, value)


def test_an_unknown_tier(world: Api) -> None:
    for value in ("gold", "", "SERVICE_TIER_FLEX", 9, True, ["flex"], {"tier": "flex"}):
        for method in ("generateContent", "streamGenerateContent?alt=sse"):
            body = {"contents": HELLO, "service_tier": value}
            answer = world.http.post(f"/v1beta/models/{MODEL}:{method}", json=body)
            found = answer.json()
            error = (found[0] if isinstance(found, list) else found)["error"]
            assert (answer.status_code, error["status"]) == (400, "INVALID_ARGUMENT")
            (violation,) = error["details"][0]["fieldViolations"]
            assert violation["field"] == "service_tier"
            assert violation["description"].startswith("Invalid value at 'service_tier' (ServiceTier), ")
    assert paid(world) == 0


def test_which_answers_name_their_tier(world: Api) -> None:
    """Answers of generation, also streamed; an embedding has no tier to ask for."""
    for tier, served in ((None, "standard"), ("flex", "flex")):
        assert tier_of(ask(world, tier=tier)) == served
        assert tier_of(ask(world, tier=tier, stream=True)) == served
    path, content = f"/v1beta/models/{EMBEDDER}:embedContent", {"content": HELLO[0]}
    assert tier_of(world.http.post(path, json=content)) is None
    refused = world.http.post(path, json={**content, "serviceTier": "flex"})
    assert refused.status_code == 400
    assert 'Unknown name "serviceTier"' in refused.json()["error"]["message"]


def test_what_calls_cost(world: Api) -> None:
    """By the price list of the day: flex its own, which is half; priority has none."""
    usages = [ask(world, tier=tier).json()["usageMetadata"] for tier in ("flex", "standard", "priority")]
    found = {one["tier"]: one for one in account(world)["interactive"]}
    price = catalog.load().models[MODEL].price_on(dt.datetime.now(dt.UTC).date())
    assert price is not None
    for tier, rates in (("flex", price.flex), ("standard", price.interactive)):
        one = found[tier]
        assert (one["promptTokens"], one["paid"]) == (usages[0]["promptTokenCount"], 1)
        assert rates is not None
        amount = one["promptTokens"] * rates.of(Kind.INPUT) + one["outputTokens"] * rates.of(Kind.OUTPUT)
        assert one["usd"] == pytest.approx(float(amount) / 1e6, rel=1e-9)
    assert found["standard"]["usd"] == pytest.approx(2 * found["flex"]["usd"])
    assert found["priority"]["usd"] is None


def test_what_is_paid_twice(world: Api, other: Api) -> None:
    """The same body, by any tier, in any spelling; another project's, and another body, are requests of their own."""
    for tier in ("flex", "standard", None):
        ask(world, "a", tier=tier)
    world.http.post(CALL, json={"service_tier": "FLEX", "contents": {"parts": {"text": "a"}}})
    ask(world, "a", stream=True)
    ask(world, "b")
    ask(other, "a")
    world.http.post(CALL, json={"contents": HELLO, "generationConfig": {"temperature": 9}})
    assert account(world)["repeated"] == {"requests": 3, "paid": 7, "doubles": 4, "most": 5}


def test_nothing_of_a_request_is_kept(tmp_path: Path) -> None:
    """Only counts and hashes, which no other folder makes."""
    digests = set()
    for name in ("one", "two"):
        folder = tmp_path / name
        with serve(folder) as running, httpx2.Client(base_url=running.url) as http:
            body = {"contents": [{"parts": [{"text": "a remarkable prompt"}]}], "serviceTier": "flex"}
            assert http.post(CALL, json=body, headers={"x-goog-api-key": "a-remarkable-key"}).status_code == 200
            digests |= {row[0] for row in running.emulator.store.rows("SELECT digest FROM paid_requests")}
            stored = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
        assert b"remarkable" not in stored
    assert len(digests) == 2


def test_the_account_outlives_the_emulator(tmp_path: Path) -> None:
    for repeated in (
        {"requests": 1, "paid": 1, "doubles": 0, "most": 1},
        {"requests": 1, "paid": 2, "doubles": 1, "most": 2},
    ):
        with (
            serve(tmp_path) as running,
            httpx2.Client(base_url=running.url, headers={"x-goog-api-key": "a-key"}) as http,
        ):
            api = Api(http, running.emulator)
            assert tier_of(ask(api)) == "flex"
            assert account(api)["repeated"] == repeated


def test_an_account_of_an_older_version(tmp_path: Path) -> None:
    """Its calls were standard; what they cost was not recorded."""
    serve_once(tmp_path)
    (tmp_path / "emulator.db").unlink()
    db = sqlite3.connect(tmp_path / "emulator.db")
    before = next(number for number, script in enumerate(_MIGRATIONS) if "CREATE TABLE calls" in script)
    for script in _MIGRATIONS[:before]:
        db.executescript(script)
    db.execute("INSERT INTO interactive VALUES ('me', 'gemini-3.8-flash', 3, 1, 30, 4, 50)")
    db.execute(f"PRAGMA user_version = {before}")
    db.commit()
    db.close()
    with serve(tmp_path) as running, httpx2.Client(base_url=running.url) as http:
        (found,) = account(Api(http, running.emulator))["interactive"]
    assert found == {
        "project": "me",
        "model": "gemini-3.8-flash",
        "tier": "standard",
        "rows": 4,
        "paid": 3,
        "failed": 1,
        "promptTokens": 30,
        "cachedTokens": 4,
        "outputTokens": 50,
        "usd": None,
    }


def serve_once(folder: Path) -> None:
    with serve(folder):
        pass


@pytest.mark.parametrize("name", KINDS)
def test_a_quota_of_calls(name: str) -> None:
    """It holds in any window, not in that of the clock; a refused call does not count, nor does another's."""
    rates, window, moment = Rates(), KINDS[name].window, 10**18
    mine = ("me", MODEL)
    for start in range(3):
        rates.admit(mine, 1, 1, {name: 3}, moment + start * SECOND)
    for late, wait in ((3 * SECOND, window - 3 * SECOND), (window - 1, 1)):
        with pytest.raises(ApiFailure) as refused:
            rates.admit(mine, 1, 1, {name: 3}, moment + late)
        (violations, retry) = refused.value.details[-2:]
        assert [one["quotaId"] for one in violations["violations"]] == [KINDS[name].quota_id]
        assert (violations["violations"][0]["quotaValue"], refused.value.status) == ("3", 429)
        assert int(retry["retryDelay"].removesuffix("s")) == -(-wait // SECOND)
    rates.admit(("you", MODEL), 1, 1, {name: 3}, moment)
    rates.admit(("me", EMBEDDER), 1, 1, {name: 3}, moment)
    rates.admit(mine, 1, 1, {name: 3}, moment + window)
    with pytest.raises(ApiFailure):
        rates.admit(mine, 1, 1, {name: 3}, moment + window)
    assert rates.held("me", moment + window)[MODEL] == {name: 3}


def test_quotas_that_are_reached_together() -> None:
    """All are named, the longest wait is told, and nothing of the refused call counts; what never fits is refused."""
    rates, limits = Rates(), {"requests_per_minute": 1, "tokens_per_minute": 100, "requests_per_day": 1}
    rates.admit(("me", MODEL), 1, 60, limits, 10**18)
    with pytest.raises(ApiFailure) as refused:
        rates.admit(("me", MODEL), 1, 60, limits, 10**18)
    assert len(refused.value.details[-2]["violations"]) == 3
    assert refused.value.details[-1]["retryDelay"] == "86400s"
    assert rates.held("me", 10**18)[MODEL]["tokens_per_minute"] == 60
    with pytest.raises(ApiFailure):
        rates.admit(("you", MODEL), 1, 101, limits, 10**18)


def test_quotas_over_http(world: Api, other: Api) -> None:
    """They hold for ordinary calls of all kinds, and for each part of one; a refused call is not in the account."""
    assert world.http.post("/emulator/quotas", json={"requests_per_minute": 2}).status_code == 200
    assert [ask(world, tier=tier).status_code for tier in ("flex", "standard", "flex")] == [200, 200, 429]
    assert ask(world, stream=True).status_code == 429
    assert ask(other).status_code == 200
    path = f"/v1beta/models/{EMBEDDER}:batchEmbedContents"
    three = {"requests": [{"model": f"models/{EMBEDDER}", "content": HELLO[0]}] * 3}
    assert world.http.post(path, json=three).status_code == 429
    assert world.http.post(path, json={"requests": three["requests"][:2]}).status_code == 200
    held = world.http.get("/emulator/quotas").json()["held"]["calls"]
    assert held == {MODEL: {"requests_per_minute": 2}, EMBEDDER: {"requests_per_minute": 2}}
    assert sum(one["rows"] for one in account(world)["interactive"]) == 5
    world.world.clock.advance(60)
    assert ask(world).status_code == 200


def test_how_late_answers_are() -> None:
    """Between the bounds, each its own, and the same ones for the same seed."""

    def waits(seed: int) -> list[float]:
        one = Armed(1, WireFault(delay=2, delay_most=20, seed=seed))
        return [one.between(2, 20) for _ in range(50)]

    assert waits(7) == waits(7) != waits(8)
    assert all(2 <= wait <= 20 for wait in waits(7))
    assert max(waits(7)) - min(waits(7)) > 9


def test_a_caller_that_gives_up_leaves_its_place(world: Api) -> None:
    """Its call is paid; the next one is not refused for it."""
    world.http.post("/emulator/faults", json={"operation": "models.generateContent", "delay": 9000})
    fault = {"operation": "models.generateContent", "error": "high_demand", "above": 1, "times": 0}
    world.http.post("/emulator/faults", json=fault)
    with pytest.raises(httpx2.ReadTimeout):
        world.http.post(CALL, json={"contents": HELLO}, timeout=0.3)
    assert any(ask(world).status_code == 200 for _ in range(2000))
    assert paid(world) == 2
