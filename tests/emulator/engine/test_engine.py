"""How batches live: queueing, speed, cancelling, expiring, and going on from a checkpoint."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

import pytest
from filelock import FileLock

from emulator.conftest import Api, line, lines
from gemini_batch.emulator.http.server import serve
from gemini_batch.emulator.responders import builtin
from gemini_batch.errors import RowError

if TYPE_CHECKING:
    from pathlib import Path


def test_a_batch_waits_runs_and_ends(world: Api) -> None:
    """By the clock alone: PENDING for the delay, then so many rows a second."""
    world.world.batches.queue_delay = 60
    world.world.batches.rows_per_second = 2
    name = world.begin(lines(10))
    assert world.state(name) == "PENDING"
    world.world.clock.advance(62)
    running = world.get(name)["metadata"]
    assert running["state"] == "BATCH_STATE_RUNNING"
    done = int(running["batchStats"]["successfulRequestCount"])
    assert 4 <= done < 10
    assert running["batchStats"]["pendingRequestCount"] == str(10 - done)
    assert "done" not in world.get(name)
    world.world.clock.advance(10)
    assert world.state(name) == "SUCCEEDED"
    assert [one["key"] for one in world.results(name)] == [f"row-{n}" for n in range(10)]


def test_cancelled_before_it_started(world: Api) -> None:
    """CANCELLED with the odd error 13, everything pending, no output."""
    name = world.begin(lines(3))
    assert world.http.post(f"/v1/{name}:cancel").json() == {}
    ended = world.get(name)
    assert ended["done"] is True
    assert ended["metadata"]["state"] == "BATCH_STATE_CANCELLED"
    assert ended["metadata"]["batchStats"] == {"requestCount": "3", "pendingRequestCount": "3"}
    assert ended["error"]["code"] == 13
    assert ended["error"]["message"].endswith("failed without error.")
    assert "response" not in ended
    assert "output" not in ended["metadata"]
    assert world.http.post(f"/v1/{name}:cancel", json={}).json() == {}


def test_cancelled_while_it_ran(world: Api) -> None:
    """SUCCEEDED; the rows that were not served are errors of code 1 without a message."""
    world.world.batches.rows_per_second = 1
    name = world.begin(lines(1000))
    world.world.clock.advance(5)
    assert world.state(name) == "RUNNING"
    world.http.post(f"/v1/{name}:cancel")
    world.world.clock.advance(100)
    found = world.results(name)
    assert [one["key"] for one in found] == [f"row-{n}" for n in range(1000)]
    served = sum("response" in one for one in found)
    assert 5 <= served < 50
    assert all(one["error"] == {"code": 1} for one in found[served:])
    ended = world.get(name)["metadata"]
    assert ended["state"] == "BATCH_STATE_SUCCEEDED"
    assert ended["batchStats"]["failedRequestCount"] == str(1000 - served)


@pytest.mark.parametrize(("delay", "speed", "served"), [(200_000, None, False), (0, 0.001, True)])
def test_too_slow_for_two_days(world: Api, delay: float, speed: float | None, served: bool) -> None:
    """EXPIRED after 48 h, without output, whether it ever started or not."""
    world.world.batches.queue_delay, world.world.batches.rows_per_second = delay, speed
    name = world.begin(lines(1000))
    world.world.clock.advance(47 * 3600)
    assert world.state(name) == ("RUNNING" if served else "PENDING")
    world.world.clock.advance(3601)
    ended = world.get(name)
    assert (ended["metadata"]["state"], ended["done"]) == ("BATCH_STATE_EXPIRED", True)
    assert "output" not in ended["metadata"]
    assert ("successfulRequestCount" in ended["metadata"]["batchStats"]) == served


def test_a_batch_that_nobody_watched_has_ended_long_ago(world: Api) -> None:
    """It does not expire for want of somebody who asks."""
    name = world.begin(lines(3))
    world.world.clock.advance(60 * 86400)
    assert world.state(name) == "SUCCEEDED"


def test_results_are_kept_for_six_weeks(world: Api) -> None:
    """Then the batch is still known, and its output is not."""
    name = world.begin(lines(1))
    url = f"/v1/{world.finish(name)['response']['responsesFile']}:download?alt=media"
    world.world.clock.advance(41 * 86400)
    assert world.http.get(url).status_code == 200
    world.world.clock.advance(2 * 86400)
    assert world.http.get(url).status_code == 404
    assert world.state(name) == "SUCCEEDED"


def test_deleting_a_batch_that_runs(world: Api) -> None:
    """It is gone at once, and no file of it stays."""
    world.world.batches.rows_per_second = 1
    name = world.begin(lines(100))
    world.world.clock.advance(10)
    assert world.state(name) == "RUNNING"
    world.http.delete(f"/v1/{name}")
    world.world.clock.advance(1000)
    assert world.http.get("/v1/batches").json() == {}
    assert not list((world.world.store.folder / "outputs").iterdir())


def test_all_batches_move_and_the_important_one_first(world: Api) -> None:
    """Within one look; a batch of higher priority is begun before the others."""
    world.world.batches.queue_delay = 1
    begun: list[str] = []

    def note(model: str, request: dict[str, Any]) -> dict[str, Any]:
        begun.append(request["contents"][0]["parts"][0]["text"])
        return builtin.respond(model, request)

    world.world.engine.responder = note
    names = [world.begin(line("k", text), priority=priority) for text, priority in (("a", 0), ("b", "7"), ("c", -1))]
    world.world.clock.advance(2)
    assert [world.state(name) for name in names] == ["SUCCEEDED"] * 3
    assert begun == ["b", "a", "c"]


def test_one_look_takes_limited_time(world: Api) -> None:
    """A look ends at its deadline with a checkpoint; the next ones go on from there, and no row is answered twice."""
    ticks = iter(range(10**9))
    world.world.engine.monotonic = lambda: next(ticks) / 100
    name = world.begin(lines(500))
    counts = []
    while not (seen := world.get(name)).get("done"):
        counts.append(int(seen["metadata"]["batchStats"].get("successfulRequestCount", 0)))
    assert len(counts) > 3
    assert counts == sorted(set(counts))
    assert [one["key"] for one in world.results(name)] == [f"row-{n}" for n in range(500)]


def test_who_does_not_get_the_lock_reads_the_checkpoint(world: Api) -> None:
    """A batch that somebody else works on is shown as it was last written down."""
    name = world.begin(lines(3))
    with FileLock(world.world.store.locks / f"{name.removeprefix('batches/')}.lock"):
        assert world.state(name) == "PENDING"
    assert world.state(name) == "SUCCEEDED"


def test_many_callers_at_once(world: Api) -> None:
    """Every row is answered once, however many look at the same time."""
    seen: list[str] = []

    def note(model: str, request: dict[str, Any]) -> dict[str, Any]:
        seen.append(request["contents"][0]["parts"][0]["text"])
        return builtin.respond(model, request)

    world.world.engine.responder = note
    name = world.begin(b"\n".join(line(str(n), f"text {n}") for n in range(300)))
    threads = [threading.Thread(target=world.get, args=(name,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(world.results(name)) == 300
    assert sorted(seen) == sorted(f"text {n}" for n in range(300))


def test_a_responder_of_ones_own(tmp_path: Path) -> None:
    """Any function; what it raises fails its row and nothing else."""
    import httpx2

    def mine(model: str, request: dict[str, Any]) -> dict[str, Any]:
        match request["contents"][0]["parts"][0]["text"]:
            case "good":
                return {"candidates": [{"content": {"parts": [{"text": model}]}}]}
            case "bad":
                raise RowError(8, "Too much.")
            case _:
                raise KeyError("broken")

    with (
        serve(tmp_path, responder=mine) as running,
        httpx2.Client(base_url=running.url, headers={"x-goog-api-key": "k"}) as http,
    ):
        api = Api(http, running.emulator)
        rows = api.results(api.begin(b"\n".join(line(text, text) for text in ("good", "bad", "worse"))))
    assert rows[0]["response"]["candidates"][0]["content"]["parts"][0]["text"] == "gemini-3.8-flash"
    assert rows[1] == {"error": {"code": 8, "message": "Too much."}, "key": "bad"}
    assert rows[2] == {"error": {"code": 13, "message": "KeyError: 'broken'"}, "key": "worse"}


def test_an_output_shorter_than_the_checkpoint_is_made_again(world: Api) -> None:
    """As after a power cut: the database knows more than the disk kept."""
    world.world.batches.rows_per_second = 1
    name = world.begin(lines(20))
    world.world.clock.advance(10)
    assert world.state(name) == "RUNNING"
    (partial,) = (world.world.store.folder / "outputs").iterdir()
    partial.write_bytes(partial.read_bytes()[:100])
    world.world.clock.advance(100)
    assert [one["key"] for one in world.results(name)] == [f"row-{n}" for n in range(20)]
    assert world.get(name)["metadata"]["batchStats"] == {"requestCount": "20", "successfulRequestCount": "20"}


def test_an_output_that_was_published_before_the_process_died(world: Api) -> None:
    """The file is in its place and the database does not say so yet: the next look does."""
    name = world.begin(lines(3))
    batch_id = name.removeprefix("batches/")
    world.finish(name)
    with world.world.store.transaction() as db:
        db.execute("UPDATE batches SET state = 'RUNNING', ended = NULL WHERE id = ?", (batch_id,))
        db.execute("DELETE FROM files WHERE id = ?", (f"batch-{batch_id}",))
    assert [one["key"] for one in world.results(name)] == ["row-0", "row-1", "row-2"]


def test_the_background_worker(tmp_path: Path) -> None:
    """With it, batches end although nobody looks."""
    import httpx2

    with (
        serve(tmp_path, background=True) as running,
        httpx2.Client(base_url=running.url, headers={"x-goog-api-key": "k"}) as http,
    ):
        name = Api(http, running.emulator).begin(lines(2))
        while json.loads(http.get("/emulator/accounting").content)["jobs"][0]["state"] != "SUCCEEDED":
            pass
        assert name
