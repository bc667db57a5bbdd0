"""A service that echoes the API key, acts on the terminal, and sends odd values: each costs itself only.

Answers of a model are the user's data and stay as they came. Everything else that the service says is checked where
it enters: neither the key nor a control character reaches a stream, a file, a database or a log.
"""

from __future__ import annotations

import copy
import json
import logging
import random
import sqlite3
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.script import Body, Everything
from cli.conftest import KEY
from gemini_batch.api import client as api_client
from scenarios.story import asking

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from scenarios.conftest import Stage

PERCENT = "".join(f"%{ord(letter):02X}" for letter in KEY)
#: What is put into a string: the key in three forms, escape codes of the terminal, and a forged line.
POISON = f" {KEY} {PERCENT} {quote(PERCENT)} \x1b[2J\x9b31m\u202e\r\nError: forged\x07 {KEY}"
#: Forbidden in everything that is printed or stored; the colours of our own output are not on in a pipe.
FORBIDDEN = (KEY, PERCENT, quote(PERCENT), "\x1b", "\x9b", "\x07", "\u202e", "\nError: forged")
#: Fields that are the user's data, or opaque values that are only sent back.
UNTOUCHED = frozenset({"content", "key", "nextPageToken"})


def altered(value: Any, change: Callable[[Any, tuple[str, ...]], Any], path: tuple[str, ...] = ()) -> Any:
    """The same JSON with every leaf changed by ``change(leaf, path)``."""
    if isinstance(value, dict):
        return {name: altered(inner, change, (*path, name)) for name, inner in value.items()}
    if isinstance(value, list):
        return [altered(inner, change, (*path, "[]")) for inner in value]
    return change(value, path)


class Evil(httpx2.AsyncBaseTransport):
    """Passes calls on to the emulator and changes its answers."""

    def __init__(
        self, change: Callable[[Any, tuple[str, ...]], Any], more: Callable[[Any], Any] = lambda _: None
    ) -> None:
        self._inner, self._change, self._more = httpx2.AsyncHTTPTransport(), change, more

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """One call."""
        response = await self._inner.handle_async_request(request)
        body = b"".join([piece async for piece in response.stream])  # type: ignore[union-attr]
        await response.aclose()
        lines = [self._altered(line) for line in body.split(b"\n")] if body[:1] == b"{" else [body]
        headers = [(name, value) for name, value in response.headers.raw if name.lower() != b"content-length"]
        return httpx2.Response(response.status_code, headers=headers, stream=Body(b"\n".join(lines)))

    def _altered(self, line: bytes) -> bytes:
        try:
            value = json.loads(line)
        except ValueError:
            return line
        changed = altered(value, self._change)
        return json.dumps(self._more(changed) or changed).encode()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._inner.aclose()


def be_evil(monkeypatch: pytest.MonkeyPatch, change: Callable[[Any, tuple[str, ...]], Any], **more: Any) -> None:
    evil = lambda *words, **named: REAL(*words, **named, transport=Evil(change, **more))  # noqa: E731
    monkeypatch.setattr(api_client, "Client", evil)


REAL = api_client.Client
#: Every place in which the service writes text of its own, apart from names and times, which the commands need.
PLACES = (
    "state", "displayName", "model", "message", "status", "@type", "mimeType", "sha256Hash", "uri", "code", "reason",
    "finishMessage", "blockReasonMessage", "description", "modelVersion", "createTime", "endTime", "responsesFile",
    "fileName", "name",
)  # fmt: skip


@pytest.fixture
def logged() -> Iterator[list[str]]:
    handler, root = Everything(), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    yield handler.lines
    root.setLevel(level)
    root.removeHandler(handler)


def stored(home: Path) -> str:
    """Everything under the state folder as text, apart from the raw answers."""
    found = []
    for path in sorted(home.rglob("*")):
        if path.parent.name == "raw":
            continue
        if path.suffix == ".db":
            with sqlite3.connect(path) as database:
                found += list(database.iterdump())
        elif path.is_file():
            found.append(path.read_bytes().decode("utf-8", "replace"))
    return "\n".join(found)


def check(stage: Stage, logged: list[str], *outputs: str) -> None:
    texts = {"stored": stored(stage.shell.home), "printed": "\n".join(outputs), "logged": "\n".join(logged)}
    for path in [*stage.shell.folder.glob("*"), *stage.shell.home.rglob("raw/*")]:
        texts[path.name] = path.read_text(encoding="utf-8", errors="replace")
    for where, text in texts.items():
        # A response is kept as it came, but for the key; JSON escapes what acts on a terminal.
        for word in FORBIDDEN[:3] if where.endswith(".jsonl") else FORBIDDEN:
            assert word not in text, (where, word, text[max(0, text.find(word) - 200) :][:400])


def play(stage: Stage) -> list[str]:
    """All commands that print what the service says; whatever comes of them, none ends unforeseen."""
    stage.shell.write("in.jsonl", *[asking(key) for key in "abcd"])
    outputs = []
    for words in (
        ("create", "in.jsonl", "--model", "gemini-3.8-flash"),
        ("status", "JOB"),
        ("status", "JOB", "--json"),
        ("list", "--remote"),
        ("list", "--json"),
        ("models", "--json"),
        ("doctor",),
        ("run", "in.jsonl", "--model", "gemini-3.8-flash", "-o", "out.jsonl", "--timeout", "600"),
        ("results", "JOB", "-o", "results.jsonl"),
        ("results", "JOB", "--json", "-o", "again.jsonl"),
        ("cancel", "JOB"),
    ):
        job = (
            next((job.batch for job in stage.jobs() if job.batch), "batches/none") if stage.ledger_path.exists() else ""
        )
        done = stage.run(*[job or "batches/none" if word == "JOB" else word for word in words])
        assert done.code != 3, (words, done)
        assert '"internal"' not in done.out
        outputs += [done.out, done.err]
    return outputs


@pytest.mark.parametrize("place", PLACES)
def test_no_echo_is_passed_on(stage: Stage, monkeypatch: pytest.MonkeyPatch, logged: list[str], place: str) -> None:
    """Some rows have failed, one is blocked, one was cut off: the service has words on each."""
    stage.arm(row="error", key="a", code=3, message="A word on this row.", times=0)
    stage.arm(row="blocked", key="b", times=0)
    stage.arm(row="finish", key="c", reason="SAFETY", times=0)

    def poison(value: Any, path: tuple[str, ...]) -> Any:
        return f"{value}{POISON}" if path and path[-1] == place and isinstance(value, str) else value

    be_evil(monkeypatch, poison)
    check(stage, logged, *play(stage))


@pytest.mark.parametrize("seed", range(6))
def test_no_echo_of_any_mixture_is_passed_on(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, logged: list[str], seed: int
) -> None:
    """Some strings at some times, so that the commands come far enough to print the rest."""
    chance = random.Random(seed)

    def poison(value: Any, path: tuple[str, ...]) -> Any:
        wanted = isinstance(value, str) and not set(path) & UNTOUCHED and chance.random() < 0.15
        return chance.choice([f"{value}{POISON}", POISON, f"{POISON}{value}"]) if wanted else value

    be_evil(monkeypatch, poison)
    check(stage, logged, *play(stage))


# Odd values ---------------------------------------------------------------------------------------------------------

ODD: tuple[Any, ...] = (
    True, -1, 2**63, 2**64, 10**400, 1e308, "9" * 400, "-5", "0x10", "", None, [], {}, [[]], {"a": 1},
    "10000-01-01T00:00:00Z",
    "9999-12-31T23:59:59-23:59", "0000-00-00T00:00:00Z", "NaN", "\ud800", "x" * 100_000,
)  # fmt: skip
#: Fields that no command needs: whatever they hold, everything else works.
NEEDLESS = (
    "requestCount", "successfulRequestCount", "failedRequestCount", "pendingRequestCount", "createTime", "updateTime",
    "endTime", "displayName", "@type", "mimeType", "uri", "expirationTime",
)  # fmt: skip


@pytest.mark.parametrize("odd", ODD, ids=lambda value: repr(value)[:20])
def test_an_odd_value_costs_itself_only(stage: Stage, monkeypatch: pytest.MonkeyPatch, odd: Any) -> None:
    def change(value: Any, path: tuple[str, ...]) -> Any:
        return copy.deepcopy(odd) if path and path[-1] in NEEDLESS else value

    be_evil(monkeypatch, change)
    stage.shell.write("in.jsonl", *[asking(key) for key in "abcd"])

    done = stage.run("run", "in.jsonl", "--model", "gemini-3.8-flash", "-o", "out.jsonl")

    assert done.code == 0, done.err
    assert [row["key"] for row in stage.read("out.jsonl")] == list("abcd")
    job = stage.jobs()[0].batch
    assert job is not None
    for words in (("status", job), ("list", "--remote", "--json"), ("results", job, "-o", "again.jsonl"), ("list",)):
        assert stage.run(*words).code == 0, words


@settings(max_examples=15)
@given(seed=st.integers(0, 10**9))
def test_no_odd_value_anywhere_is_unforeseen(seed: int, stage: Stage) -> None:
    chance = random.Random(seed)

    def change(value: Any, path: tuple[str, ...]) -> Any:
        return copy.deepcopy(chance.choice(ODD)) if chance.random() < 0.05 else value

    with pytest.MonkeyPatch.context() as patch:
        be_evil(patch, change)
        play(stage)


@pytest.mark.parametrize("odd", ["\ud800", float("nan"), float("inf"), 10**400], ids=repr)
def test_an_odd_value_in_one_inline_answer(stage: Stage, monkeypatch: pytest.MonkeyPatch, odd: Any) -> None:
    """The other answers of the job are unharmed, and so is the rest of this one."""

    def spoil(value: Any) -> Any:
        inner = value.get("metadata", {}).get("output", {}).get("inlinedResponses", {}).get("inlinedResponses")
        if inner:
            inner[1]["response"]["odd"] = odd
        return value

    be_evil(monkeypatch, lambda value, _: value, more=spoil)
    stage.shell.write("in.jsonl", *[asking(key) for key in "abcd"])
    job = stage.run("create", "in.jsonl", "--inline", "--model", "gemini-3.8-flash").out.strip()

    assert stage.run("status", job, "--wait").code == 0
    assert stage.run("results", job, "-o", "out.jsonl").code == 0
    assert [row["verdict"] for row in stage.read("out.jsonl")] == ["succeeded"] * 4
