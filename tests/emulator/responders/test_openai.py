"""Batches on an OpenAI-compatible server, over sockets: order, errors, and many answers at a time."""

from __future__ import annotations

import json
import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest

from emulator.conftest import line, lines
from emulator.responders.conftest import Reply, completion, said
from gemini_batch.emulator.engine.engine import BUDGET
from gemini_batch.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from emulator.responders.conftest import Open, Stub

KEY = "sk-the-key-of-these-tests-0123456789"


def texts(rows: list[dict[str, Any]]) -> list[str]:
    return [row["response"]["candidates"][0]["content"]["parts"][0]["text"] for row in rows]


def test_a_batch_on_another_model(stub: Stub, emulate: Open) -> None:
    """Rows in, the server's answers out, by key, in order; its name for the model; its count of tokens."""
    with emulate(f"openai={stub.url},model=small") as api:
        found = api.results(api.begin(b"\n".join([line("a", "One"), b"", line("b", "Two", temperature=0.5)])))
        job = api.http.get("/emulator/accounting").json()["jobs"][0]
    assert [row["key"] for row in found] == ["a", "b"]
    assert texts(found) == ["You said: One", "You said: Two"]
    assert found[0]["response"]["modelVersion"] == "small-1@offline"
    assert stub.paths == ["/v1/chat/completions"] * 2
    assert sorted(body["model"] for body in stub.asked) == ["small", "small"]
    assert (job["paid"], job["promptTokens"], job["outputTokens"]) == (2, 14, 6)


def test_the_models_own_name_where_none_is_given(stub: Stub, emulate: Open) -> None:
    with emulate(f"openai={stub.url}/") as api:
        api.results(api.begin(line("a")))
    assert stub.asked[0]["model"] == "gemini-3.8-flash"


def test_inline_requests_and_single_calls(stub: Stub, emulate: Open) -> None:
    """The same responder answers inline batches and the calls outside of batches."""
    request = {"contents": [{"parts": [{"text": "Hi"}]}]}
    with emulate(f"openai={stub.url}") as api:
        made = api.finish(api.begin([{"request": request, "metadata": {"key": "x"}}]))
        single = api.http.post("/v1beta/models/gemini-3.8-flash:generateContent", json=request).json()
    inlined = made["response"]["inlinedResponses"]["inlinedResponses"]
    assert inlined[0]["metadata"] == {"key": "x"}
    assert texts(inlined) == texts([{"response": single}]) == ["You said: Hi"]


def test_embeddings(stub: Stub, emulate: Open) -> None:
    stub.answer = lambda body: Reply({"data": [{"embedding": [0.6, 0.8]}], "usage": {"prompt_tokens": 2}})
    rows = [{"key": f"e{n}", "request": {"content": {"parts": [{"text": str(n)}]}}} for n in range(3)]
    with emulate(f"openai={stub.url},model=vectors") as api:
        name = api.begin("\n".join(map(json.dumps, rows)).encode(), embed=True)
        found = api.results(name)
    assert [row["response"]["embedding"]["values"] for row in found] == [[0.6, 0.8]] * 3
    assert set(stub.paths) == {"/v1/embeddings"}
    assert sorted(body["input"] for body in stub.asked) == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, 3),
        (401, 16),
        (403, 7),
        (404, 5),
        (408, 4),
        (409, 10),
        (413, 3),
        (422, 3),
        (429, 8),
        (500, 13),
        (501, 13),
        (502, 14),
        (503, 14),
        (504, 4),
        (302, 13),
    ],
)
def test_http_errors_are_errors_of_the_row(stub: Stub, emulate: Open, status: int, code: int) -> None:
    """The right gRPC code, the server's own words, the server's address; the other rows have their answers."""

    def answer(body: dict[str, Any]) -> Reply:
        bad = said(body) == "bad"
        return Reply({"error": {"message": "It is full."}}, status) if bad else Reply(completion("fine"))

    stub.answer = answer
    with emulate(f"openai={stub.url}") as api:
        found = api.results(api.begin(b"\n".join([line("a", "ok"), line("b", "bad"), line("c", "ok")])))
        job = api.http.get("/emulator/accounting").json()["jobs"][0]
    assert texts([found[0], found[2]]) == ["fine", "fine"]
    assert found[1]["key"] == "b"
    assert found[1]["error"]["code"] == code
    assert f"{stub.url.removesuffix('/v1')} answered {status}" in found[1]["error"]["message"]
    assert status == 302 or "It is full." in found[1]["error"]["message"]
    assert len(stub.asked) == 3
    assert (job["paid"], job["failed"]) == (2, 1)


@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        ({"detail": "no such thing"}, 13, "not a chat completion"),
        (b"<html>hello</html>", 13, "not JSON: <html>hello</html>"),
        (b"", 13, "not JSON: nothing"),
        ({"error": "model is loading"}, 13, "model is loading"),
    ],
)
def test_a_good_status_with_a_bad_body(stub: Stub, emulate: Open, body: Any, code: int, words: str) -> None:
    stub.answer = lambda _: Reply(body)
    with emulate(f"openai={stub.url}") as api:
        (row,) = api.results(api.begin(line("a")))
    assert row["error"]["code"] == code
    assert words in row["error"]["message"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"error": "not found"}, "not found"),
        ({"detail": [{"loc": "body"}]}, '[{"loc":"body"}]'),
        (b"<h1>Nothing   here</h1>", "<h1>Nothing here</h1>"),
        (b"", "nothing"),
    ],
)
def test_other_ways_to_say_no(stub: Stub, emulate: Open, body: Any, words: str) -> None:
    """Servers word their errors differently; and an address without /v1 is the usual mistake."""
    stub.answer = lambda _: Reply(body, 404)
    with emulate(f"openai={stub.url.removesuffix('/v1')}") as api:
        (row,) = api.results(api.begin(line("a")))
    assert f"answered 404: {words}" in row["error"]["message"]
    assert row["error"]["message"].endswith("should your address end in /v1?")


def test_no_answer_in_time(stub: Stub, emulate: Open) -> None:
    """Code 4 for the row that took too long, and for no other."""
    never = threading.Event()

    def answer(body: dict[str, Any]) -> Reply:
        if said(body) == "slow":
            never.wait(30)
        return Reply(completion("fine"))

    stub.answer = answer
    with emulate(f"openai={stub.url},timeout=0.5") as api:
        found = api.results(api.begin(b"\n".join([line("a", "slow"), line("b", "ok")])))
    never.set()
    assert found[0]["error"]["code"] == 4
    assert "did not answer within 0.5 s" in found[0]["error"]["message"]
    assert texts(found[1:]) == ["fine"]


def test_nobody_there(emulate: Open) -> None:
    """Code 14, as for a service that is unavailable; a single call is answered 503."""
    with socket.socket() as taken:  # bound, but nobody listens
        taken.bind(("127.0.0.1", 0))
        with emulate(f"openai=http://127.0.0.1:{taken.getsockname()[1]}/v1") as api:
            (row,) = api.results(api.begin(line("a")))
            single = api.http.post(
                "/v1beta/models/gemini-3.8-flash:generateContent", json={"contents": [{"parts": [{"text": "Hi"}]}]}
            )
    assert row["error"]["code"] == 14
    assert "could not be reached" in row["error"]["message"]
    assert (single.status_code, single.json()["error"]["status"]) == (503, "UNAVAILABLE")


def test_the_key_goes_to_the_server_and_nowhere_else(stub: Stub, emulate: Open, tmp_path: Path) -> None:
    """It is in the header, and in no answer, error or file, even if the server repeats it."""
    stub.answer = lambda body: Reply({"error": {"message": f"Incorrect API key provided: {KEY}."}}, 401)
    with emulate(f"openai={stub.url}", key=KEY) as api:
        (row,) = api.results(api.begin(line("a")))
        shown = json.dumps(row) + api.http.get("/emulator/accounting").text
    assert stub.headers[0]["authorization"] == f"Bearer {KEY}"
    assert "Incorrect API key provided: …." in row["error"]["message"]
    assert KEY not in shown
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]


def test_no_key_no_header(stub: Stub, emulate: Open) -> None:
    with emulate(f"openai={stub.url}") as api:
        api.results(api.begin(line("a")))
    assert "authorization" not in stub.headers[0]


def test_no_redirect_is_followed(stub: Stub, emulate: Open) -> None:
    """A redirect would carry rows and key to another place."""
    stub.answer = lambda body: Reply({}, 307, {"Location": f"{stub.url}/elsewhere"})
    with emulate(f"openai={stub.url}", key=KEY) as api:
        (row,) = api.results(api.begin(line("a")))
    assert stub.paths == ["/v1/chat/completions"]
    assert "/elsewhere; use the final address" in row["error"]["message"]


@pytest.mark.parametrize(
    "spec",
    [
        "openai=",
        "openai=localhost:11434",
        "openai=ftp://localhost/v1",
        "openai=http://localhost:99999/v1",
        "openai=http://user:secret@localhost/v1",
        "openai=http://localhost/v1?key=secret",
        "openai=http://localhost/v1,concurrency=0",
        "openai=http://localhost/v1,concurrency=many",
        "openai=http://localhost/v1,timeout=-1",
        "openai=http://localhost/v1,timeout=soon",
        "openai=http://localhost/v1,timeout=nan",
        "openai=http://localhost/v1,key=secret",
        "openai=http://localhost/v1,model",
        "openai=http://localhost/v1,model=a,model=b",
    ],
)
def test_addresses_and_options_that_cannot_be(spec: str, emulate: Open) -> None:
    with pytest.raises(UsageError) as caught, emulate(spec):
        pass
    assert caught.value.next
    assert "user:secret" not in caught.value.message


def test_a_key_that_no_header_can_hold(emulate: Open) -> None:
    with pytest.raises(UsageError, match="OPENAI_API_KEY") as caught, emulate("openai=http://localhost/v1", key="ключ"):
        pass
    assert "ключ" not in str(caught.value)


# Many at a time.


def test_so_many_at_a_time_and_no_more(stub: Stub, emulate: Open) -> None:
    """Four rows are with the server at once (else the barrier breaks), never five; the order stays."""
    together = threading.Barrier(4)

    def answer(body: dict[str, Any]) -> Reply:
        together.wait(20)
        return Reply(completion(said(body)))

    stub.answer = answer
    with emulate(f"openai={stub.url},concurrency=4") as api:
        found = api.results(api.begin(b"\n".join(line(f"k{n}", f"text {n}") for n in range(40))))
    assert [row["key"] for row in found] == [f"k{n}" for n in range(40)]
    assert texts(found) == [f"text {n}" for n in range(40)]
    assert stub.peak == 4
    assert len(stub.asked) == 40


def test_the_first_row_is_the_slowest(stub: Stub, emulate: Open) -> None:
    """The others go on meanwhile, as far as the window reaches; looks come back and show what is written: nothing."""
    first, others = threading.Event(), threading.Semaphore(0)

    def answer(body: dict[str, Any]) -> Reply:
        if said(body) == "0":
            first.wait(30)
        else:
            others.release()
        return Reply(completion(said(body)))

    stub.answer = answer
    with emulate(f"openai={stub.url},concurrency=2") as api:
        name = api.begin(b"\n".join(line(f"k{n}", str(n)) for n in range(30)))
        api.get(name)
        for _ in range(7):  # eight rows are open: four for each of the two places
            assert others.acquire(timeout=20)
        looked = api.get(name)["metadata"]
        assert looked["state"] == "BATCH_STATE_RUNNING"
        assert looked["batchStats"] == {"requestCount": "30", "pendingRequestCount": "30"}
        assert len(stub.asked) == 8
        first.set()
        found = api.results(name)
    assert texts(found) == [str(n) for n in range(30)]
    assert len(stub.asked) == 30


def test_a_look_does_not_wait_for_the_model(stub: Stub, emulate: Open) -> None:
    """It comes back after its half second, many times if need be; the row is asked for once."""
    go = threading.Event()

    def answer(body: dict[str, Any]) -> Reply:
        go.wait(30)
        return Reply(completion("at last"))

    stub.answer = answer
    with emulate(f"openai={stub.url}") as api:
        name = api.begin(line("a"))
        api.world.engine.monotonic = iter(range(1000)).__next__  # a second at every look
        for _ in range(5):
            assert api.state(name) == "RUNNING"
        assert len(stub.asked) == 1
        go.set()
        assert texts(api.results(name)) == ["at last"]
    assert len(stub.asked) == 1
    assert BUDGET < 1


def test_cancelled_while_answers_were_being_made(stub: Stub, emulate: Open) -> None:
    """What was written stays; what was open is a row of code 1, and its answers are not waited for."""
    go, held = threading.Event(), threading.Semaphore(0)

    def answer(body: dict[str, Any]) -> Reply:
        if int(said(body)) >= 2:
            held.release()
            go.wait(30)
        return Reply(completion("done"))

    stub.answer = answer
    with emulate(f"openai={stub.url},concurrency=3") as api:
        name = api.begin(b"\n".join(line(f"k{n}", str(n)) for n in range(10)))
        while int(api.get(name)["metadata"]["batchStats"].get("successfulRequestCount", 0)) < 2:
            pass
        for _ in range(3):
            assert held.acquire(timeout=20)
        api.http.post(f"/v1beta/{name}:cancel")
        found = api.results(name)
        assert api.world.engine.prefetched == {}
        go.set()
        # Calls are answered first come, first served: were the given up rows still waiting, they would be before this.
        request = {"contents": [{"parts": [{"text": "1"}]}]}
        assert api.http.post("/v1beta/models/gemini-3.8-flash:generateContent", json=request).status_code == 200
    assert texts(found[:2]) == ["done", "done"]
    assert [row["error"] for row in found[2:]] == [{"code": 1}] * 8
    assert len(stub.asked) == 6


def test_closed_while_answers_were_being_made(stub: Stub, emulate: Open) -> None:
    """The end does not wait for the model; the next emulator asks for what was not written, and only that."""
    go, held = threading.Event(), threading.Semaphore(0)

    def answer(body: dict[str, Any]) -> Reply:
        if int(said(body)) >= 3:
            held.release()
            go.wait(30)
        return Reply(completion(said(body)))

    stub.answer = answer
    with emulate(f"openai={stub.url},concurrency=2", background=True) as api:
        name = api.begin(b"\n".join(line(f"k{n}", str(n)) for n in range(6)))
        while int(api.get(name)["metadata"]["batchStats"].get("successfulRequestCount", 0)) < 3:
            pass
        assert held.acquire(timeout=20)
    go.set()
    with emulate(f"openai={stub.url},concurrency=2") as api:
        found = api.results(name)
    assert texts(found) == [str(n) for n in range(6)]
    assert sorted(map(said, stub.asked))[:3] == ["0", "1", "2"]


def test_somebody_else_went_on_meanwhile(stub: Stub, emulate: Open) -> None:
    """Two emulators on one folder: what one has open is given up when the other has passed it."""
    go = threading.Event()

    def answer(body: dict[str, Any]) -> Reply:
        if int(said(body)) >= 3:
            go.wait(30)
        return Reply(completion(said(body)))

    stub.answer = answer
    with emulate(f"openai={stub.url}") as one:
        one.world.batches.rows_per_second = 1
        name = one.begin(b"\n".join(line(f"k{n}", str(n)) for n in range(20)))
        one.world.clock.advance(2)
        one.get(name)
        with emulate(f"openai={stub.url}") as two:
            two.world.clock.advance(3)
            while int(two.get(name)["metadata"]["batchStats"].get("successfulRequestCount", 0)) < 3:
                pass
        go.set()
        one.world.clock.advance(100)
        found = one.results(name)
    assert texts(found) == [str(n) for n in range(20)]


def test_no_more_rows_than_the_speed_allows(stub: Stub, emulate: Open) -> None:
    """With a set speed, rows whose time has not come are not asked for."""
    with emulate(f"openai={stub.url}") as api:
        api.world.batches.rows_per_second = 2
        name = api.begin(lines(100))
        api.world.clock.advance(5)
        while int(api.get(name)["metadata"]["batchStats"].get("successfulRequestCount", 0)) < 10:
            pass
        assert len(stub.asked) <= 30
        api.world.clock.advance(1000)
        assert len(api.results(name)) == 100
    assert len(stub.asked) == 100


def test_a_deleted_batch_is_not_worked_on(stub: Stub, emulate: Open) -> None:
    go = threading.Event()

    def answer(body: dict[str, Any]) -> Reply:
        go.wait(30)
        return Reply(completion())

    stub.answer = answer
    with emulate(f"openai={stub.url}") as api:
        name = api.begin(lines(5))
        api.get(name)
        api.http.delete(f"/v1beta/{name}")
        assert api.world.engine.prefetched == {}
        assert api.http.get(f"/v1beta/{name}").status_code == 404
        go.set()
