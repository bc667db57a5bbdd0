"""``listen`` and ``run --webhook-url`` as real processes over loopback, with an emulator as a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from cli.conftest import KEY, Shell, Trap
from gemini_batch.settings import WEBHOOK_VARIABLE
from webhooks.conftest import SECRET, Sender

if TYPE_CHECKING:
    from collections.abc import Iterator

LINE = {"key": "sky", "request": {"contents": [{"role": "user", "parts": [{"text": "Why is the sky blue?"}]}]}}
SOURCE = str(Path(__file__).parents[2] / "src")


@dataclass
class Emulator:
    """An emulator's process: its URL, and what tests ask it."""

    url: str
    http: httpx2.Client = field(init=False)

    def __post_init__(self) -> None:
        self.http = httpx2.Client(base_url=self.url, headers={"x-goog-api-key": "any"}, timeout=30)

    def advance(self, seconds: float) -> None:
        self.http.post("/emulator/clock", json={"advance": seconds}).raise_for_status()

    def arm(self, **fields: Any) -> None:
        assert self.http.post("/emulator/faults", json=fields).status_code == 200

    def count(self, operation: str) -> None:
        """Count the calls of an operation: with a fault that is never played."""
        self.arm(operation=operation, delay=1, skip=1_000_000)

    def counted(self, operation: str) -> int:
        faults = self.http.get("/emulator/faults").json()["faults"]
        return sum(one["seen"] for one in faults if one["fault"].get("operation") == operation)

    def deliveries(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.http.get("/emulator/webhooks").json()["deliveries"]
        return found


def environment(folder: Path, url: str = "http://127.0.0.1:9", **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GEMINI_", "GOOGLE_"))}
    return {
        **kept,
        "PYTHONPATH": SOURCE,
        "GEMINI_BATCH_HOME": str(folder / "home"),
        "GOOGLE_GEMINI_BASE_URL": url,
        "GEMINI_API_KEY": "any",
        **more,
    }


@contextlib.contextmanager
def command(folder: Path, *words: str, **env: str) -> Iterator[subprocess.Popen[str]]:
    """A command of ours in a process, which is gone at the end."""
    started = subprocess.Popen(
        [sys.executable, "-m", "gemini_batch", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        cwd=folder,
        env=environment(folder, **env),
    )
    try:
        yield started
    finally:
        started.kill()
        started.communicate()


@pytest.fixture
def emulator(tmp_path: Path) -> Iterator[Emulator]:
    """With a queue of an hour."""
    with command(tmp_path, "emulator", "--queue-delay", "3600") as process:
        assert process.stdout is not None
        made = Emulator(process.stdout.readline().strip())
        yield made
        made.http.close()


@contextlib.contextmanager
def listener(folder: Path, *words: str, **env: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """``listen`` on a free port, once it listens: its process, and its address."""
    with command(folder, "listen", "--port", "0", *words, **env) as process:
        assert process.stderr is not None
        said = process.stderr.readline()
        assert said.startswith("Listening on http://127.0.0.1:"), said
        yield process, said.split()[-1]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port


def until(happens: Any) -> Any:
    """What this returns, once that is true."""
    end = time.monotonic() + 60
    while not (found := happens()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return found


# listen ---------------------------------------------------------------------------------------------------------------


def test_listen_prints_verified_deliveries_and_nothing_else(tmp_path: Path, emulator: Emulator) -> None:
    """Of a registered webhook and of a job's own; forged, stale and repeated ones are not printed."""
    registered = emulator.http.post(
        "/v1beta/webhooks", json={"uri": "http://127.0.0.1:9/", "subscribed_events": ["batch.succeeded"]}
    ).json()
    secret = registered["new_signing_secret"]
    with listener(tmp_path, url=emulator.url, **{WEBHOOK_VARIABLE: secret}) as (process, address):
        assert process.stdout is not None
        now = int(time.time())
        for bad in (
            Sender("v1").send(at=now),
            Sender("v1", secret=secret).send(at=now - 400),
            Sender("v1a").send(at=now),
            Sender("v1").send(at=now).but(signature=None),
        ):
            assert httpx2.post(address, headers=dict(bad.headers), content=bad.body).status_code in (400, 401)
        good = Sender("v1", secret=secret).send(at=now)
        for _ in range(2):
            assert httpx2.post(address, headers=dict(good.headers), content=good.body).status_code == 200
        own = start(emulator, address)
        emulator.advance(3600)
        first, second = (json.loads(process.stdout.readline()) for _ in range(2))
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert (first["version"], first["event"], first["id"], first["signature"]) == (1, "delivery", "msg_1", "v1")
    assert (second["type"], second["job"], second["signature"]) == ("batch.succeeded", own, "v1a")
    assert second["content"]["data"]["id"] == own
    assert (process.returncode, out) == (130, "")
    assert err.count("Refused:") == 4
    assert secret not in err
    assert secret[6:] not in err


def start(emulator: Emulator, uri: str) -> str:
    """A job with a webhook of its own."""
    config = {"requests": {"requests": [{"request": LINE["request"]}]}}
    body = {"batch": {"inputConfig": config, "webhookConfig": {"uris": [uri]}}}
    answer = emulator.http.post("/v1beta/models/gemini-3.8-flash:batchGenerateContent", json=body)
    assert answer.status_code == 200, answer.text
    name: str = answer.json()["name"]
    return name


def test_listen_once(tmp_path: Path) -> None:
    """The first genuine one ends it, with 0; `--json` adds a document."""
    with listener(tmp_path, "--once", "--json", **{WEBHOOK_VARIABLE: SECRET}) as (process, address):
        sent = Sender("v1").send(at=int(time.time()))
        httpx2.post(address, headers=dict(sent.headers), content=b"{}")
        httpx2.post(address, headers=dict(sent.headers), content=sent.body)
        out, _ = process.communicate(timeout=30)
    delivery, document = (json.loads(line) for line in out.splitlines())
    assert delivery["job"] == "batches/abc"
    assert document == {"version": 1, "command": "listen", "result": {"deliveries": 1}, "exit_code": 0}
    assert process.returncode == 0


def test_listen_until_the_time_is_over(tmp_path: Path) -> None:
    with command(tmp_path, "listen", "--port", "0", "--timeout", "0.1s", "--json") as process:
        out, _ = process.communicate(timeout=60)
    assert json.loads(out) == {"version": 1, "command": "listen", "result": {"deliveries": 0}, "exit_code": 6}
    assert process.returncode == 6


# run ------------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def running(folder: Path, emulator: Emulator, *, poll: str = "3000") -> Iterator[tuple[subprocess.Popen[str], str]]:
    """``run --webhook-url`` whose job waits in the queue, and which polls so seldom that this alone would take long."""
    port = free_port()
    url = f"http://127.0.0.1:{port}/hook"
    (folder / "requests.jsonl").write_text(json.dumps(LINE) + "\n", encoding="utf-8")
    words = ["requests.jsonl", "-o", "results.jsonl", "--poll", poll, "--webhook-url", url, "--webhook-port", str(port)]
    emulator.count("batches.get")
    with command(folder, "run", *words, url=emulator.url) as process:
        until(lambda: emulator.counted("batches.get") == 1)
        yield process, url


def test_a_delivery_ends_the_wait_of_a_run(tmp_path: Path, emulator: Emulator) -> None:
    """After the first poll, nothing but the delivery makes it poll again: the next one sees the end."""
    with running(tmp_path, emulator) as (process, url):
        emulator.advance(3600)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert out.startswith("run-")
    assert "A webhook says batch.succeeded for batches/" in err
    assert json.loads((tmp_path / "results.jsonl").read_text(encoding="utf-8"))["verdict"] == "succeeded"
    # The poll of the delivery, and the one that collects.
    assert emulator.counted("batches.get") == 3
    (delivery,) = emulator.deliveries()
    assert delivery["uri"] == url
    assert emulator.http.get("/emulator/accounting").json()["totals"]["jobs"] == 1


@pytest.mark.parametrize("scenario", ["W3", "W4", "W6", "W7"])
def test_without_a_genuine_delivery_polling_goes_on(tmp_path: Path, emulator: Emulator, scenario: str) -> None:
    """Lost, forged, unsigned or stale: the run ends the same way, by its polls."""
    emulator.arm(scenario=scenario)
    with running(tmp_path, emulator, poll="0.3") as (process, _):
        emulator.advance(3600)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "A webhook says" not in err
    assert (
        emulator.http.get("/emulator/accounting").json()["totals"] | {"jobs": 1, "paid": 1}
        == (emulator.http.get("/emulator/accounting").json()["totals"])
    )


def test_the_token_of_the_guide_ends_the_wait_too(tmp_path: Path, emulator: Emulator) -> None:
    emulator.arm(scenario="W8")
    with running(tmp_path, emulator) as (process, _):
        emulator.advance(3600)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert emulator.counted("batches.get") == 3


def test_a_forged_delivery_says_nothing(tmp_path: Path, emulator: Emulator) -> None:
    """No poll comes of it; the genuine one ends the wait."""
    with running(tmp_path, emulator) as (process, url):
        for _ in range(5):
            forged = Sender("v1a").send(at=int(time.time()))
            assert httpx2.post(url, headers=dict(forged.headers), content=forged.body).status_code == 401
        assert emulator.counted("batches.get") == 1
        emulator.advance(3600)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert err.count("A delivery was refused: its signature is wrong.") == 1
    assert emulator.counted("batches.get") == 3


# Mistakes -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def trap() -> Iterator[Trap]:
    made = Trap()
    yield made
    made.close()


@pytest.fixture
def shell(tmp_path: Path, trap: Trap, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    """A user whose service is a trap: nobody may call it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GEMINI_BATCH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", trap.url)
    monkeypatch.setenv("GEMINI_API_KEY", KEY)
    made = Shell(tmp_path, tmp_path / "home", capsys)
    made.write("requests.jsonl", LINE)
    return made


BAD_URLS = [
    "",
    "nowhere",
    "ftp://a.example/",
    "http://",
    "https://me:hunter2@a.example/",
    "https://a.example/#x",
    "http://[::1/",
]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        *((["run", "requests.jsonl", "--webhook-url", url], "bad_argument") for url in BAD_URLS),
        (["run", "requests.jsonl", "--webhook-port", "8787"], "bad_argument"),
        (["run", "requests.jsonl", "--webhook-url", "https://a.example/", "--webhook-port", "0"], "bad_argument"),
        (["run", "requests.jsonl", "--webhook-url", "https://a.example/", "--offline"], "bad_argument"),
        (["listen", "--offline"], "bad_argument"),
        (["listen", "--timeout", "soon"], "bad_argument"),
        (["listen", "--port", "99999"], "bad_argument"),
    ],
)
def test_a_mistake_ends_with_2_before_anything_is_sent(shell: Shell, trap: Trap, words: list[str], code: str) -> None:
    done = shell.run(*words, "--json")
    assert done.code == 2
    assert done.document["error"]["code"] == code
    assert "hunter2" not in done.out + done.err
    assert trap.callers == 0


@pytest.mark.parametrize("name", ["run", "listen"])
@pytest.mark.parametrize("what", ["port", "secret", "library"])
def test_what_is_missing_ends_with_2_before_anything_is_sent(
    shell: Shell, trap: Trap, monkeypatch: pytest.MonkeyPatch, name: str, what: str
) -> None:
    """A port that is taken, a secret that is none, a library that is not installed."""
    code = {"port": "port_in_use", "secret": "bad_webhook_secret", "library": "missing_extra"}[what]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1] if what == "port" else free_port())
        if what == "secret":
            monkeypatch.setenv(WEBHOOK_VARIABLE, "whsec_c2VjcmV0")
        if what == "library":
            monkeypatch.setitem(sys.modules, "jwt", None)
        words = {
            "run": ["run", "requests.jsonl", "--webhook-url", "https://a.example/", "--webhook-port", port],
            "listen": ["listen", "--port", port, "--timeout", "1s"],
        }[name]
        done = shell.run(*words, "--json")
    assert done.code == 2
    error = done.document["error"]
    assert error["code"] == code
    assert "c2VjcmV0" not in done.out + done.err
    assert what != "library" or "pip install 'gemini-batch[webhooks]'" in error["next"]
    assert trap.callers == 0


def test_listen_needs_no_library_for_secrets(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jwt", None)
    monkeypatch.setenv(WEBHOOK_VARIABLE, SECRET)
    assert shell.run("listen", "--port", "0", "--timeout", "0.05s").code == 6
