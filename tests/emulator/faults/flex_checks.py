"""What the scenarios of calls with the tier flex look like on the wire."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import httpx2
import pytest

from emulator.tiers import ask, paid, tier_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from emulator.conftest import Api

    Check = Callable[[Api], None]

CHECKS: dict[str, Check] = {}


def shows(name: str) -> Callable[[Check], Check]:
    def noted(check: Check) -> Check:
        CHECKS[name] = check
        return check

    return noted


def error(answer: httpx2.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["status"]


BUSY = (503, "UNAVAILABLE")
FULL = (429, "RESOURCE_EXHAUSTED")


@shows("F0")
def half_the_price(api: Api) -> None:
    for tier in ("flex", "standard"):
        assert tier_of(ask(api, tier=tier)) == tier
    flex, standard = sorted(api.http.get("/emulator/accounting").json()["interactive"], key=lambda one: one["tier"])
    assert flex["usd"] * 2 == standard["usd"] > 0


@shows("F1")
def no_capacity(api: Api) -> None:
    """Other calls are served."""
    assert error(ask(api)) == BUSY
    assert ask(api, tier="standard").status_code == 200
    assert error(ask(api, stream=True)) == BUSY
    assert ask(api).status_code == 200
    assert paid(api) == 2


@shows("F2")
def now_and_then(api: Api) -> None:
    """The same ones each time that the same seed is armed."""
    seen = [ask(api, str(number)).status_code for number in range(100)]
    assert 1 <= seen.count(503) <= 12
    api.http.delete("/emulator/faults")
    api.http.post("/emulator/faults", json={"scenario": "F2"})
    assert [ask(api, str(number)).status_code for number in range(100)] == seen


@shows("F3")
def too_many_at_once(api: Api) -> None:
    """Of twenty, sixteen are answered; afterwards there is room again."""
    api.http.post("/emulator/faults", json={"operation": "models.generateContent", "delay": 9, "times": 0})
    with ThreadPoolExecutor(20) as pool:
        asked = [pool.submit(ask, api, str(number)) for number in range(20)]
        while paid(api) < 16:
            pass
        while sum(one.done() for one in asked) < 4:
            pass
        api.world.clock.advance(10)
        seen = [one.result().status_code for one in asked]
    assert (seen.count(200), seen.count(503)) == (16, 4)
    api.http.delete("/emulator/faults/2")
    assert ask(api).status_code == 200


@shows("F4")
def when_to_retry(api: Api) -> None:
    refused = [ask(api), ask(api)]
    assert [error(one) for one in refused] == [FULL, BUSY]
    assert [one.headers["Retry-After"] for one in refused] == ["38", "5"]
    assert ask(api).status_code == 200


def quota(api: Api, answer: httpx2.Response, quota_id: str, wait: range) -> None:
    """The refusal names the quota, and until when it holds."""
    assert error(answer) == FULL
    details = {one["@type"].rpartition(".")[2]: one for one in answer.json()["error"]["details"]}
    assert [one["quotaId"] for one in details["QuotaFailure"]["violations"]] == [quota_id]
    delay = details["RetryInfo"]["retryDelay"]
    assert int(delay.removesuffix("s")) in wait
    assert "Please retry in " in answer.json()["error"]["message"]
    api.world.clock.advance(float(delay.removesuffix("s")))


def fewer(api: Api, name: str, usual: int, small: int) -> None:
    """The scenario's quota, so small that a test reaches it."""
    assert api.http.get("/emulator/quotas").json()["quotas"][name] == usual
    api.http.post("/emulator/quotas", json={name: small})


@shows("F5")
def calls_a_minute(api: Api) -> None:
    fewer(api, "requests_per_minute", 300, 3)
    assert [ask(api, str(number)).status_code for number in range(3)] == [200] * 3
    quota(api, ask(api), "GenerateRequestsPerMinutePerProjectPerModel", range(50, 61))
    assert ask(api).status_code == 200


@shows("F5b")
def tokens_a_minute(api: Api) -> None:
    fewer(api, "tokens_per_minute", 100_000, 1000)
    assert ask(api, "word " * 600).status_code == 200
    quota(api, ask(api, "word " * 600), "GenerateContentPaidTierInputTokensPerModelPerMinute", range(50, 61))
    assert ask(api, "word " * 600).status_code == 200


@shows("F5c")
def calls_a_day(api: Api) -> None:
    fewer(api, "requests_per_day", 1000, 1)
    assert ask(api).status_code == 200
    quota(api, ask(api), "GenerateRequestsPerDayPerProjectPerModel", range(86_300, 86_401))
    assert ask(api).status_code == 200


@shows("F6")
def served_as_standard(api: Api) -> None:
    assert [tier_of(ask(api)), tier_of(ask(api))] == ["standard", "flex"]
    flex, standard = sorted(api.http.get("/emulator/accounting").json()["interactive"], key=lambda one: one["tier"])
    assert (flex["paid"], standard["paid"], standard["usd"]) == (1, 1, 2 * flex["usd"])


@shows("F6b")
def tier_not_told(api: Api) -> None:
    assert [tier_of(ask(api)), tier_of(ask(api))] == [None, "flex"]


def lost(api: Api) -> None:
    with pytest.raises(httpx2.TransportError):
        ask(api)


@shows("F7a")
def paid_and_lost(api: Api) -> None:
    """Asked again, it is paid twice."""
    lost(api)
    assert ask(api).status_code == 200
    assert api.http.get("/emulator/accounting").json()["repeated"] == {
        "requests": 1,
        "paid": 2,
        "doubles": 1,
        "most": 2,
    }


@shows("F7b")
def lost_unpaid(api: Api) -> None:
    lost(api)
    assert paid(api) == 0
    assert ask(api).status_code == 200
    assert paid(api) == 1


@shows("F7c")
def half_an_answer(api: Api) -> None:
    lost(api)
    assert paid(api) == 1


def late(api: Api, seconds: float) -> httpx2.Response:
    """The answer to a call, which is paid at once and comes when the clock has moved on."""
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(ask, api)
        while not paid(api):
            pass
        assert not asked.done()
        api.world.clock.advance(seconds)
        return asked.result()


@shows("F8")
def slow(api: Api) -> None:
    assert late(api, 20).status_code == 200


@shows("F9")
def fourteen_minutes(api: Api) -> None:
    assert late(api, 840).status_code == 200


@shows("F9b")
def impatient(api: Api) -> None:
    """The SDK sends the timeout that its user has set."""
    late = (504, "DEADLINE_EXCEEDED")
    assert error(ask(api)) == late
    for timeout, refused in (("839", True), ("840", False)):
        api.http.headers["X-Server-Timeout"] = timeout
        answer = ask(api)
        assert error(answer) == late if refused else tier_of(answer) == "flex"
    assert paid(api) == 3


@shows("F10")
def no_flex(api: Api) -> None:
    refused = ask(api)
    assert error(refused) == (400, "INVALID_ARGUMENT")
    assert refused.json()["error"]["message"] == "Flex API is not supported for model: gemini-3.8-flash."
    assert tier_of(ask(api, tier="standard")) == "standard"
