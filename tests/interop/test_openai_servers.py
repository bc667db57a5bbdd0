"""Servers that speak as OpenAI's does, by other people: the emulator passes a batch on to them and brings it back."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from interop.conftest import used
from interop.homes import interpreter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from crashes.users import User

pytestmark = [pytest.mark.interop, pytest.mark.timeout(900)]

SERVERS = (KATAN, LLMOCK) = ("llm-katan==0.22.0", "llmock==0.2.2")
SCHEMA = {"type": "OBJECT", "properties": {"city": {"type": "STRING"}}, "required": ["city"]}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Starts a program that serves on ``--port``, once it answers ``GET path``; returns its address."""
    started: list[subprocess.Popen[bytes]] = []

    def start(python: Path, program: str, *words: str, path: str) -> str:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            port = taken.getsockname()[1]
        command = [str(python.with_name(program)), *words, "--host", "127.0.0.1", "--port", str(port)]
        environment = {**os.environ, "HOME": str(tmp_path)}
        with (tmp_path / "server.log").open("wb") as log:
            process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=log, stderr=log)
        started.append(process)
        url = f"http://127.0.0.1:{port}"
        transport = httpx2.HTTPTransport(retries=8)  # half a second, one, two …: until it listens
        with httpx2.Client(transport=transport, base_url=url) as http:
            assert http.get(path).status_code < 500, (tmp_path / "server.log").read_text()
        return url

    yield start
    for process in started:
        process.terminate()
        process.wait(timeout=30)


@pytest.fixture
def katan(server: Callable[..., str]) -> Callable[..., str]:
    """llm-katan, which echoes what it is asked, checks keys and can be told to refuse."""
    python = interpreter("llm_katan", KATAN)

    def start(*words: str) -> str:
        options = ("--model", "tiny", "--backend", "echo", "--stats-file", "stats.json", "--disable-dashboard")
        return server(python, "llm-katan", *options, *words, path="/v1/models")

    return start


@pytest.fixture
def llmock(server: Callable[..., str]) -> Callable[..., str]:
    """llmock, which keeps to schemas, calls functions, and makes embeddings."""
    python = interpreter("llmock", LLMOCK)

    def start(*words: str) -> str:
        return server(python, "llmock", "serve", *words, path="/v1/models")

    return start


def line(key: str, text: str, **config: Any) -> dict[str, Any]:
    request: dict[str, Any] = {"contents": [{"role": "user", "parts": [{"text": text}]}]}
    return {"key": key, "request": {**request, "generationConfig": config} if config else request}


def run(user: User, url: str, rows: list[dict[str, Any]], *words: str) -> list[dict[str, Any]]:
    """Send rows through the command line; the result lines."""
    user.environment |= {"GOOGLE_GEMINI_BASE_URL": url, "GEMINI_API_KEY": "any"}
    (user.folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    job = user.run("create", "rows.jsonl", *words).stdout.strip()
    user.run("status", job, "--wait", "--poll", "0.2")
    return [json.loads(one) for one in user.run("results", job, "-o", "-", check=None).stdout.splitlines()]


def test_llm_katan(user: User, katan: Callable[..., str], emulator: Callable[..., str]) -> None:
    """Forty rows, four at a time and never five (it would answer 503), with its key; JSON where JSON was asked for."""
    user.environment["OPENAI_API_KEY"] = "llm-katan-openai-key"
    there = katan("--validate-keys", "--max-inflight", "4", "--latency-ms", "20")
    url = emulator("--responder", f"openai={there}/v1,model=tiny,concurrency=4")
    rows = [line(f"k{n}", f"Number {n}.") for n in range(39)]
    rows.append(line("json", "A city.", responseMimeType="application/json", temperature=0, maxOutputTokens=50))
    found = run(user, url, rows)
    assert [one["key"] for one in found] == [row["key"] for row in rows]
    assert {one["verdict"] for one in found} == {"succeeded"}
    for n in range(39):
        assert f"Number {n}." in found[n]["response"]["text"]
    assert json.loads(found[-1]["response"]["text"])
    assert found[0]["response"]["modelVersion"] == "tiny@offline"
    assert found[0]["response"]["usageMetadata"]["totalTokenCount"] > 0
    assert used(url)["paid"] == 40


def test_llm_katan_with_a_wrong_key(user: User, katan: Callable[..., str], emulator: Callable[..., str]) -> None:
    """The rows say that the key was refused, and do not say the key."""
    user.environment["OPENAI_API_KEY"] = "sk-quite-another-key"
    url = emulator("--responder", f"openai={katan('--validate-keys')}/v1,model=tiny")
    (found,) = run(user, url, [line("a", "Hello.")])
    assert found["verdict"] == "failed"
    assert found["error"]["code"] == 16
    assert "401" in found["error"]["message"]
    assert "sk-quite-another-key" not in json.dumps(found)


@pytest.mark.parametrize(("option", "code"), [("--rate-limit-after", 8), ("--timeout-after", 4)])
def test_llm_katan_that_gives_up(
    user: User, katan: Callable[..., str], emulator: Callable[..., str], option: str, code: int
) -> None:
    """Three rows are answered, the others fail with the code that this package tries again."""
    user.environment["OPENAI_API_KEY"] = "any"
    url = emulator("--responder", f"openai={katan(option, '3')}/v1,model=tiny,concurrency=1")
    found = run(user, url, [line(f"k{n}", "Hello.") for n in range(6)])
    assert [one["verdict"] for one in found] == ["succeeded"] * 3 + ["failed"] * 3
    assert {one["error"]["code"] for one in found[3:]} == {code}


def test_llmock(user: User, llmock: Callable[..., str], emulator: Callable[..., str]) -> None:
    """Chats with a schema and with a function; embeddings, of the dimension it makes and of another."""
    there = llmock()
    url = emulator("--responder", f"openai={there}/v1,model=any")
    function = {"name": "weather", "parameters": {"type": "OBJECT", "properties": {"city": {"type": "STRING"}}}}
    called = line("call", "Weather in Oslo?")
    called["request"]["tools"] = [{"functionDeclarations": [function]}]
    schema = line("schema", "A city.", responseMimeType="application/json", responseSchema=SCHEMA)
    found = run(user, url, [line("text", "Hello."), schema, called])
    assert [one["verdict"] for one in found] == ["succeeded"] * 3
    assert found[0]["response"]["text"]
    assert set(json.loads(found[1]["response"]["text"])) == {"city"}
    (part,) = found[2]["response"]["candidates"][0]["content"]["parts"]
    assert part["functionCall"]["name"] == "weather"

    rows: list[dict[str, Any]] = [
        {"key": f"e{n}", "request": {"content": {"parts": [{"text": f"Text {n}"}]}}} for n in range(3)
    ]
    rows.append({"key": "short", "request": {**rows[0]["request"], "outputDimensionality": 8}})
    found = run(user, url, rows, "--model", "gemini-embedding-001")
    sizes = [len(one["response"]["embedding"]["values"]) for one in found[:3]]
    assert len(set(sizes)) == 1
    # llmock does not shorten embeddings; it must not pass for a server that does.
    assert found[3]["error"]["code"] == 3
    assert f"{sizes[0]} dimensions, not the requested 8" in found[3]["error"]["message"]
