"""Faults on the wire, over real sockets: each effect once, through plain HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from emulator.conftest import MODEL, Api, lines
from gemini_batch.emulator.http.admin import arm

if TYPE_CHECKING:
    from collections.abc import Callable


def jobs(api: Api) -> int:
    """How many jobs were made."""
    found: list[Any] = api.http.get("/emulator/accounting").json()["jobs"]
    return len(found)


def create(api: Api, file: str) -> httpx2.Response:
    """Create a job from an uploaded file, by itself."""
    body = {"batch": {"displayName": "nightly", "inputConfig": {"fileName": file}}}
    return api.http.post(f"/v1beta/models/{MODEL}:batchGenerateContent", json=body)


@pytest.mark.parametrize(("scenario", "made"), [("C8a", 1), ("C8b", 1), ("C8c", 1), ("C8d", 0)])
def test_creating_in_the_dark(world: Api, scenario: str, made: int) -> None:
    """The caller cannot know whether there is a job; the accounts do. The next call goes well."""
    file = world.upload(lines(2))
    arm(world.world, scenario=scenario)
    world.http.timeout = 0.5
    if scenario == "C8b":
        assert create(world, file).status_code == 504
    else:
        with pytest.raises(httpx2.ReadTimeout if scenario == "C8c" else httpx2.NetworkError):
            create(world, file)
    assert jobs(world) == made
    assert create(world, file).status_code == 200
    assert jobs(world) == made + 1


def test_a_reset_is_a_reset(world: Api) -> None:
    """Not an orderly end of the connection."""
    arm(world.world, operation="batches.list", drop="reset")
    with pytest.raises(httpx2.ReadError):
        world.http.get("/v1/batches")
    arm(world.world, operation="batches.list", drop="close")
    with pytest.raises(httpx2.RemoteProtocolError):
        world.http.get("/v1/batches")


def test_a_bare_status(world: Api) -> None:
    """Worded as the service words it; as often as was said, after as many as were to pass."""
    arm(world.world, operation="batches.list", status=503, times=2, skip=1)
    answers = [world.http.get("/v1/batches") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 503, 503, 200]
    assert answers[1].json()["error"]["status"] == "UNAVAILABLE"


def test_an_answer_of_ones_own(world: Api) -> None:
    """Status, body and headers."""
    arm(world.world, operation="batches.*", status=418, body="teapot", headers={"Retry-After": "7"})
    answer = world.http.get("/v1/batches")
    assert (answer.status_code, answer.text, answer.headers["Retry-After"]) == (418, "teapot", "7")


def test_the_opaque_quota(world: Api) -> None:
    """429 with a link and nothing else: no time to come again, in header or body."""
    arm(world.world, scenario="C1", times=1)
    answer = world.create([{"request": {"contents": [{"parts": [{"text": "x"}]}]}}])
    error = answer.json()["error"]
    assert (answer.status_code, error["status"]) == (429, "RESOURCE_EXHAUSTED")
    assert [detail["@type"] for detail in error["details"]] == ["type.googleapis.com/google.rpc.Help"]
    assert "retry-after" not in answer.headers


def download(api: Api, name: str) -> httpx2.Response:
    file = api.finish(name)["response"]["responsesFile"]
    return api.http.get(f"/v1beta/{file}:download", params={"alt": "media"})


def test_downloads_that_end_early(world: Api) -> None:
    """Cut, longer declared than sent, shorter declared: only the last one looks complete."""
    name = world.begin(lines(20))
    whole = download(world, name).content
    arm(world.world, operation="files.download", cut=100)
    with pytest.raises(httpx2.RemoteProtocolError):
        download(world, name)
    arm(world.world, operation="files.download", length=10)
    with pytest.raises(httpx2.RemoteProtocolError):
        download(world, name)
    arm(world.world, operation="files.download", length=-10)
    assert download(world, name).content == whole[:-10]
    arm(world.world, operation="files.download", drip=100_000.0)
    assert download(world, name).content == whole
    assert download(world, name).content == whole


def test_an_answer_is_compressed(world: Api) -> None:
    """The same bytes, once they are inflated; also another body, and whatever its caller accepts."""
    arm(world.world, operation="models.list", gzip=True)
    arm(world.world, operation="models.get", gzip=True, body="Not JSON.")
    found = world.http.get("/v1beta/models", headers={"Accept-Encoding": "identity"})
    assert found.headers["Content-Encoding"] == "gzip"
    assert int(found.headers["Content-Length"]) < len(found.content)
    assert found.json() == world.http.get("/v1beta/models").json()
    assert world.http.get("/v1beta/models/gemini-3.8-flash").text == "Not JSON."


def test_an_upload_that_breaks(world: Api) -> None:
    """In the middle of the bytes: what came is kept in whole granules, and can be asked for; all bytes are counted."""
    data = lines(8000)
    assert len(data) > 700_000
    started = world.start(len(data))
    url = started.headers["X-Goog-Upload-URL"]
    arm(world.world, scenario="U5")
    with pytest.raises((httpx2.ReadError, httpx2.WriteError)):
        world.chunk(url, "upload, finalize", 0, data)
    asked = world.chunk(url, "query")
    assert asked.headers["X-Goog-Upload-Size-Received"] == "262144"
    assert asked.headers["X-Goog-Upload-Status"] == "active"
    done = world.chunk(url, "upload, finalize", 262_144, data[262_144:])
    assert done.json()["file"]["sizeBytes"] == str(len(data))
    (upload,) = world.http.get("/emulator/accounting").json()["uploads"]
    assert upload["receivedBytes"] == len(data)
    assert upload["sentBytes"] == len(data) + 300_000 - 262_144


def test_a_chunk_whose_answer_lacks_its_header(world: Api) -> None:
    """It was stored; asking for the state shows it."""
    started = world.start(5)
    url = started.headers["X-Goog-Upload-URL"]
    arm(world.world, scenario="U4")
    assert "x-goog-upload-status" not in world.chunk(url, "upload, finalize", 0, b"hello").headers
    assert world.chunk(url, "query").headers["X-Goog-Upload-Status"] == "final"


@pytest.mark.parametrize(
    ("scenario", "shown"),
    [
        ("L5", [lambda job: job["metadata"]["state"] == "BATCH_STATE_SOMETHING_NEW"]),
        ("L6", [lambda job: job["done"] and "output" not in job["metadata"] and "response" not in job] * 2),
        ("L9", [lambda job: "output" not in job["metadata"] and "response" in job] * 3),
        ("L10", [lambda job: "output" in job["metadata"] and "response" not in job] * 3),
        ("R13", [lambda job: len(job["metadata"]["output"]["inlinedResponses"]["inlinedResponses"]) == 3] * 3),
    ],
)
def test_what_a_job_shows(world: Api, scenario: str, shown: list[Callable[[dict[str, Any]], bool]]) -> None:
    """Changed for as many looks as the scenario says."""
    name = world.begin(lines(3))
    world.finish(name)
    arm(world.world, scenario=scenario)
    for expected in shown:
        assert expected(world.get(name))


def test_looking_fails_in_every_way(world: Api) -> None:
    """Then it goes well."""
    name = world.begin(lines(1))
    arm(world.world, scenario="L11")
    seen: list[int | str] = []
    for _ in range(7):
        try:
            seen.append(world.http.get(f"/v1/{name}").status_code)
        except httpx2.ReadError:
            seen.append("reset")
    assert seen == [429, 500, 503, 504, "reset", 404, 200]


def test_a_list_that_leaves_out(world: Api) -> None:
    """The job is there all the same."""
    name = world.begin(lines(1))
    arm(world.world, scenario="P3")
    assert world.http.get("/v1/batches").json() == {}
    assert world.state(name) == "SUCCEEDED"


def test_the_admin_route(world: Api) -> None:
    """Arming, looking, clearing; and what cannot be armed is said."""
    made = httpx2.post(f"{world.http.base_url}/emulator/faults", json={"operation": "batches.list", "status": 500})
    (number,) = made.json()["ids"]
    assert world.http.get("/v1/batches").status_code == 500
    (shown,) = world.http.get("/emulator/faults").json()["faults"]
    assert (shown["id"], shown["played"]) == (number, 1)
    assert world.http.delete(f"/emulator/faults/{number}").status_code == 200
    assert world.http.delete(f"/emulator/faults/{number}").status_code == 404
    assert world.http.get("/emulator/faults").json() == {"faults": []}
    for wrong in (
        {"scenario": "C99"},
        {"job": "FAILED", "operation": "batches.get"},
        {"status": 500, "key": "row-1"},
        {"row": "error", "rows": 2},
        {"output": "drop", "code": 2},
        {"status": 500, "row": "error"},
        {"sttus": 500},
        {},
        {"error": "bad luck"},
    ):
        refused = world.http.post("/emulator/faults", json=wrong)
        assert refused.status_code == 400, refused.text


def test_the_address_of_an_upload_is_lost(world: Api) -> None:
    """Any header can be left out."""
    arm(world.world, operation="files.upload.start", without_headers=["X-Goog-Upload-URL"])
    assert "x-goog-upload-url" not in world.start(3).headers
    assert "x-goog-upload-url" in world.start(3).headers


def test_late_answers(world: Api) -> None:
    """So many seconds later, whatever the answer."""
    arm(world.world, operation="batches.list", delay=0.4)
    arm(world.world, operation="models.list", delay=0.4, status=503)
    for path, status in (("/v1/batches", 200), ("/v1/models", 503)):
        with pytest.raises(httpx2.ReadTimeout):
            world.http.get(path, timeout=0.1)
        arm(world.world, operation="batches.list|models.list", delay=0.01, status=status)
        assert world.http.get(path).status_code == status


def test_by_name_model_and_display_name(world: Api) -> None:
    """A fault means one job, one model, one name; before the work and after it."""
    first, second = world.begin(lines(1), displayName="one"), world.begin(lines(1), displayName="two")
    for which in ({"resource": second}, {"display_name": "tw*"}, {"display_name": "/^t.o$/", "model": "gemini-*"}):
        for commit in (False, True):
            arm(world.world, operation="batches.get", status=503, commit=commit, **which)
            assert [world.http.get(f"/v1/{name}").status_code for name in (first, second)] == [200, 503]
    arm(world.world, operation="batches.create", display_name="three", status=503)
    assert world.create(lines(1), displayName="two").status_code == 200
    assert world.create(lines(1), displayName="three").status_code == 503
    arm(world.world, operation="files.*", display_name="a file", status=503)
    other = world.upload(b"x", displayName="another")
    assert world.http.get(f"/v1/{other}").status_code == 200
    assert world.start(1, displayName="a file").status_code == 503
    arm(world.world, operation="batches.list", display_name="one", set={"metadata.state": "ODD"})
    listed = world.http.get("/v1/batches").json()["operations"]
    assert {one["metadata"]["displayName"]: one["metadata"]["state"] == "ODD" for one in listed} == {
        "one": True,
        "two": False,
    }


def test_together_means_one_after_the_other(world: Api) -> None:
    """Faults of a scenario are played in turn; those armed apart at the same time."""
    name = world.begin(lines(1))
    arm(world.world, scenario="L5")
    arm(world.world, operation="batches.get", remove=["metadata.batchStats"], times=2)
    seen = [world.get(name)["metadata"] for _ in range(4)]
    assert [one.get("state") for one in seen[:3]] == ["BATCH_STATE_SOMETHING_NEW", "JOB_STATE_QUEUED", None]
    assert ["batchStats" in one for one in seen] == [False, False, True, True]


def test_chance_is_seeded(world: Api) -> None:
    """The same seed fails the same calls."""
    runs = []
    for _ in range(2):
        (number,) = arm(world.world, operation="batches.list", status=503, times=0, probability=0.5, seed=7)
        runs.append([world.http.get("/v1/batches").status_code for _ in range(20)])
        world.world.faults.clear(number)
    assert runs[0] == runs[1]
    assert set(runs[0]) == {200, 503}


def pages(api: Api, most: int = 10) -> list[list[str]]:
    """The names on every page of the list, two to a page."""
    found, token = [], ""
    for _ in range(most):
        page = api.http.get("/v1/batches", params={"pageSize": 2, "pageToken": token}).json()
        found.append([one["name"] for one in page.get("operations", ())])
        if not (token := page.get("nextPageToken", "")):
            break
    return found


def test_lists_with_odd_pages(world: Api) -> None:
    """One that ends too soon, one that begins with an empty page, one that never ends."""
    names = [world.begin([{"request": {"contents": []}}]) for _ in range(5)][::-1]
    usual = [names[:2], names[2:4], names[4:]]
    assert pages(world) == usual
    arm(world.world, operation="batches.list", listing="no_next")
    assert pages(world) == usual[:1]
    arm(world.world, operation="batches.list", listing="empty_page")
    assert pages(world) == [[], *usual]
    arm(world.world, operation="batches.list", listing="empty_page", skip=1)
    assert pages(world) == [usual[0], [], *usual[1:]]
    arm(world.world, operation="batches.list", listing="same_next", times=0)
    assert pages(world, most=4) == [names[:2]] * 4
    world.world.faults.clear()
    arm(world.world, operation="batches.list", listing="omit", resource=names[1])
    assert pages(world) == [names[:1], *usual[1:]]
    assert pages(world) == usual


def test_what_nobody_armed_changes_nothing(world: Api) -> None:
    """With faults of every kind armed for others, the same bytes."""
    name = world.begin(lines(3), displayName="mine")
    file = world.finish(name)["response"]["responsesFile"]
    paths = [f"/v1/{name}", "/v1/batches", f"/v1/{file}:download", "/v1/models", "/v1/files"]
    before = [(answer.headers, answer.content) for answer in map(world.http.get, paths)]
    results = world.results(name)
    faults: list[dict[str, Any]] = [
        {"status": 503, "display_name": "theirs"},
        {"cut": 1, "resource": "batches/other|files/other"},
        {"set": {"done": False}, "state": "RUNNING"},
        {"job": "FAILED", "display_name": "theirs"},
        {"row": "error", "key": "other"},
        {"output": "drop", "model": "other"},
    ]
    for fault in faults:
        arm(world.world, times=0, **fault)
    assert [(answer.headers, answer.content) for answer in map(world.http.get, paths)] == before
    again = world.results(world.begin(lines(3), displayName="mine"))
    assert again == results
    assert [one["played"] for one in world.world.faults.shown()] == [0] * 6
