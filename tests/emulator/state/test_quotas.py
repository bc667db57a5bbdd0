"""Quotas: how many jobs and tokens a project may hold, how large its files may be, and when room is free again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from msgspec import ValidationError, convert

from emulator.conftest import Api, line, lines
from gemini_batch.emulator.state.quotas import Quotas

if TYPE_CHECKING:
    import httpx2

#: Four characters make a token.
HUNDRED = [{"request": {"contents": [{"parts": [{"text": "x" * 400}]}]}}]


def create(api: Api) -> int:
    """Create a job that holds a hundred tokens; the status."""
    return api.create(HUNDRED).status_code


def tell(api: Api, **quotas: object) -> httpx2.Response:
    return api.http.post("/emulator/quotas", json=quotas)


def test_nothing_is_limited_by_default(world: Api) -> None:
    """But the sizes."""
    assert world.http.get("/emulator/quotas").json() == {"quotas": {}, "held": {"jobs": 0, "tokens": {}, "calls": {}}}
    world.world.batches.queue_delay = 60
    assert {create(world) for _ in range(5)} == {200}
    held = world.http.get("/emulator/quotas").json()["held"]
    assert held == {"jobs": 5, "tokens": {}, "calls": {}}


def test_tokens_of_a_model(world: Api, other: Api) -> None:
    """Held from the creation to the end; each project and each model by itself."""
    tell(world, tokens={"gemini-3.8-flash": 250})
    world.world.batches.queue_delay = 60
    assert [create(world) for _ in range(3)] == [200, 200, 429]
    assert world.http.get("/emulator/quotas").json()["held"] == {
        "jobs": 2,
        "tokens": {"gemini-3.8-flash": 200},
        "calls": {},
    }
    assert create(other) == 200
    body = {"batch": {"inputConfig": {"requests": {"requests": HUNDRED}}}}
    assert world.http.post("/v1/models/gemini-3.5-flash:batchGenerateContent", json=body).status_code == 200
    world.world.clock.advance(60)
    assert [create(world) for _ in range(3)] == [200, 200, 429]


def test_tokens_of_files_and_embeddings(world: Api) -> None:
    """Every row counts, whatever it is written like."""
    tell(world, tokens={"gemini-3.8-flash": 1000, "gemini-embedding-001": 1000})
    world.world.batches.queue_delay = 60
    bare = json.dumps(HUNDRED[0]["request"]).encode()
    part = b'{"parts": [{"text": "%s"}]}'
    snake = b'{"key": "b", "request": {"contents": [' + part + b'], "system_instruction": ' + part + b"}}"
    world.begin(b"\n\n".join([line("a", "x" * 400), bare, snake % (b"x" * 400, b"y" * 40)]))
    content = {"content": {"parts": [{"text": "x" * 400}]}}
    world.begin([{"request": content}, {"request": content}], embed=True)
    held = world.http.get("/emulator/quotas").json()["held"]["tokens"]
    assert held == {"gemini-3.8-flash": 310, "gemini-embedding-001": 200}


def test_late_release(world: Api) -> None:
    """Ended jobs, and deleted ones, hold their tokens for a while."""
    tell(world, tokens={"gemini-3.8-flash": 200}, release_after=900)
    done, gone = world.begin(HUNDRED), world.begin(HUNDRED)
    world.finish(done)
    world.http.delete(f"/v1/{gone}")
    assert create(world) == 429
    world.world.clock.advance(890)
    assert create(world) == 429
    world.world.clock.advance(11)
    assert create(world) == 200


def test_creates(world: Api, other: Api) -> None:
    """So many in any stretch of time, whatever became of the jobs; each project by itself."""
    tell(world, creates=2, creates_per=600)
    assert create(world) == 200
    world.world.clock.advance(500)
    assert [create(world) for _ in range(2)] == [200, 429]
    assert create(other) == 200
    world.world.clock.advance(100)
    assert [create(world) for _ in range(2)] == [200, 429]
    tell(world, creates=0)
    assert create(world) == 429


def test_jobs_are_forgotten(world: Api) -> None:
    """So long after their end; those that are alive are not."""
    tell(world, jobs_kept=86_400)
    done = world.begin(HUNDRED)
    world.finish(done)
    world.world.clock.advance(86_000)
    world.world.batches.queue_delay = 30 * 3600
    alive = world.begin(HUNDRED)
    listed = [one["name"] for one in world.http.get("/v1beta/batches").json()["operations"]]
    assert listed == [alive, done]
    world.world.clock.advance(400)
    assert [one["name"] for one in world.http.get("/v1beta/batches").json()["operations"]] == [alive]
    assert world.http.get(f"/v1beta/{done}").status_code == 404
    assert world.http.get(f"/v1beta/{alive}").status_code == 200


def test_what_was_paid_is_known_when_the_results_are_gone(world: Api) -> None:
    """The account of keys outlives output files that have expired."""
    tell(world, results_kept=60.0)
    done = world.begin(lines(2))
    world.finish(done)
    url = "/emulator/accounting?keys=true"
    before = world.http.get(url).json()["keys"]

    world.world.clock.advance(90)
    world.upload(line("a"))  # an upload makes room first
    output = f"files/batch-{done.removeprefix('batches/')}"

    assert world.http.get(f"/v1beta/{output}:download").status_code in {403, 404}
    assert before == {"row-0": 1, "row-1": 1}
    assert world.http.get(url).json()["keys"] == before


@pytest.mark.parametrize(
    "name", ["jobs", "creates", "creates_per", "release_after", "results_kept", "jobs_kept", "file"]
)
def test_no_quota_is_negative(name: str) -> None:
    with pytest.raises(ValidationError, match="negative"):
        convert({name: -1}, Quotas)


def test_a_tier(world: Api) -> None:
    """The catalog's limits."""
    assert Quotas(tier=1).of_model("gemini-3.8-flash") == 3_000_000
    assert Quotas(tier=3).of_model("gemini-3.6-flash") == 1_000_000_000
    assert Quotas(tier=1, tokens={"gemini-3.8-flash": 5}).of_model("gemini-3.8-flash") == 5
    assert Quotas(tier=2).of_model("no-such-model") is None
    tell(world, tier=1)
    assert world.create(line("a", "x" * 12_100_000)).status_code == 429
    assert world.create(line("a", "x" * 11_900_000)).status_code == 200


def test_jobs_are_refused(world: Api) -> None:
    """Beyond so many that live."""
    tell(world, jobs=2)
    world.world.batches.queue_delay = 60
    names = [world.begin(HUNDRED) for _ in range(2)]
    assert create(world) == 429
    world.http.post(f"/v1/{names[0]}:cancel")
    assert world.state(names[0]) == "CANCELLED"
    assert create(world) == 200


def test_jobs_wait(world: Api) -> None:
    """They stay PENDING, in their order, and expire like others; the time they waited is no time they worked."""
    tell(world, jobs=1, when_full="wait")
    world.world.batches.rows_per_second = 1
    first, second, third = (world.begin(lines(10)) for _ in range(3))
    assert [world.state(name) for name in (first, second, third)] == ["RUNNING", "PENDING", "PENDING"]
    world.world.clock.advance(10)
    assert world.state(first) == "SUCCEEDED"
    assert [world.state(name) for name in (second, third)] == ["RUNNING", "PENDING"]
    assert "successfulRequestCount" not in world.get(second)["metadata"]["batchStats"]
    world.world.clock.advance(48 * 3600)
    assert world.state(third) == "EXPIRED"


def test_sizes(world: Api) -> None:
    """Of a file, of all files, of an inline body."""
    tell(world, file=1000, storage=1500, inline=2000)
    assert world.start(1001).status_code == 400
    world.upload(b"x" * 1000)
    assert world.start(501).json()["error"]["message"].endswith("file_storage_bytes, limit: 1500.")
    assert world.start(500).status_code == 200
    assert world.create(HUNDRED * 10).status_code == 400
    assert world.create(HUNDRED).status_code == 200


@pytest.mark.parametrize("wrong", [{"jobs": -1}, {"tier": 4}, {"job": 3}, {"when_full": "never"}, {"jobs": "many"}])
def test_what_is_no_quota(world: Api, wrong: dict[str, object]) -> None:
    """It is said, and changes nothing."""
    answer = tell(world, **wrong)
    assert (answer.status_code, answer.json()["error"]["status"]) == (400, "INVALID_ARGUMENT")
    assert world.world.limits.quotas == Quotas()


def test_clearing_faults_takes_back_the_quotas_of_scenarios(world: Api) -> None:
    """They are what they were at the start."""
    world.http.post("/emulator/faults", json={"scenario": "C3b", "jobs": 0})
    assert create(world) == 429
    world.http.delete("/emulator/faults")
    assert create(world) == 200
