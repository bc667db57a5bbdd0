"""Who may call: programs on this machine. A web page changes nothing and learns nothing, whatever it sends."""

from __future__ import annotations

import http.client
import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx2
import pytest
from click.testing import CliRunner

from emulator.conftest import Api, line, lines
from gemini_batch.cli import cli
from gemini_batch.emulator.http.admin import arm
from gemini_batch.emulator.http.callers import allowed_host
from gemini_batch.emulator.http.routes import operations
from gemini_batch.emulator.http.server import serve
from gemini_batch.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

MODEL = "gemini-3.8-flash"

#: A body that would have an effect, for the routes that have one.
EFFECTS = {
    "emulator.clock": {"advance": 86_400},
    "emulator.faults": {"operation": "batches.list", "status": 500},
    "emulator.quotas": {"jobs": 1},
    "emulator.buckets": {"name": "a-bucket"},
    "storage.buckets.insert": {"name": "another-bucket"},
    "bigquery.datasets.insert": {"datasetReference": {"datasetId": "a_set"}},
    "batches.create": {"batch": {"inputConfig": {"requests": {"requests": [{"request": json.loads(line("k"))}]}}}},
    "webhooks.create": {"uri": "http://127.0.0.1:1/", "subscribed_events": ["batch.failed"]},
    "models.generateContent": json.loads(line("k"))["request"],
    "models.streamGenerateContent": json.loads(line("k"))["request"],
    "cachedContents.create": {"model": f"models/{MODEL}", "contents": [{"parts": [{"text": "long " * 4000}]}]},
    "cachedContents.update": {"ttl": "9s"},
}

TABLES = ("meta", "files", "uploads", "batches", "caches", "calls", "webhooks", "deliveries")

#: As a browser sends them: the headers of what another site causes, or of a name that it points to this machine.
FOREIGN: dict[str, dict[str, str]] = {
    "another site's form": {
        "Origin": "https://evil.example",
        "Sec-Fetch-Site": "cross-site",
        "Content-Type": "application/x-www-form-urlencoded",
    },
    "no-cors text": {"Origin": "https://evil.example", "Content-Type": "text/plain"},
    "no-cors JSON as text": {"Sec-Fetch-Site": "cross-site", "Content-Type": "text/plain;charset=UTF-8"},
    "an image": {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"},
    "an opaque origin": {"Origin": "null"},
    "an empty origin": {"Origin": ""},
    "a file": {"Origin": "file://"},
    "an extension": {"Origin": "chrome-extension://abcdefgh"},
    "another port of this machine": {"Origin": "http://127.0.0.1:1"},
    "another name of this machine": {"Origin": "http://localhost:{port}"},
    "another scheme": {"Origin": "ws://127.0.0.1:{port}"},
    "the same site": {"Sec-Fetch-Site": "same-site"},
    "an unknown relation": {"Sec-Fetch-Site": "sibling"},
    "a rebound name": {"Host": "evil.example:{port}"},
    "a rebound name as its own origin": {"Host": "evil.example:{port}", "Origin": "http://evil.example:{port}"},
    "a name like ours": {"Host": "localhost.evil.example"},
    "a name with ours at its end": {"Host": "evil-localhost"},
    "an address within a name": {"Host": "127.0.0.1.evil.example"},
    "an address that is not the loopback's": {"Host": "192.168.1.7:{port}"},
    "every address": {"Host": "0.0.0.0:{port}"},
    "two dots": {"Host": "localhost..:{port}"},
    "a login": {"Host": "localhost@evil.example"},
    "brackets without an address": {"Host": "[localhost]:{port}"},
    "no name": {"Host": ""},
    "only a port": {"Host": ":{port}"},
    "two names": {"Host": "localhost, evil.example"},
    "a word that is not ASCII": {"Host": "localhost\u0131"},
}


def call(api: Api, method: str, path: str, headers: dict[str, str], body: bytes = b"") -> tuple[int, bytes]:
    """One call over a socket, with exactly these headers."""
    url = urlsplit(str(api.http.base_url))
    wire = http.client.HTTPConnection(url.hostname or "", url.port, timeout=30)
    wire.putrequest(method, path, skip_host="Host" in headers, skip_accept_encoding=True)
    for name, value in headers.items():
        wire.putheader(name, value.format(port=url.port).encode("utf-8"))
    wire.putheader("Content-Length", str(len(body)))
    wire.endheaders(body)
    answer = wire.getresponse()
    found = answer.status, answer.read()
    wire.close()
    return found


def every_route(api: Api, **names: str) -> list[tuple[str, str, str]]:
    """Method, path and operation of all routes, with a key in the query, as a page would send it."""
    others = {"file": "none", "cache": "none", "fault": "1", "webhook": "none"}
    known = {"model": MODEL, "tuned": "mine", "batch": "none", **others, **names}
    found = []
    for methods, path, operation, _ in operations(api.world):
        filled = re.sub(r"\{(\w+)(?::path)?\}", lambda name: known.get(name[1], "none"), path)
        head, _, rest = filled[1:].partition("/")
        if "/storage/" in filled:
            pass
        elif head in ("upload", "download"):
            filled = f"/{head}/v1beta/{rest}"
        elif head not in ("emulator", ".well-known", "bigquery"):
            filled = f"/v1beta{filled}"
        found.append((methods.partition("|")[0], f"{filled}?key=a-key", operation))
    return [*found, ("OPTIONS", "/emulator/clock", ""), ("GET", "/", ""), ("POST", "/nowhere", "")]


def state(api: Api) -> list[Any]:
    """Everything that a call could change, except what the clock does by itself."""
    store = api.world.store
    return [
        *(list(map(tuple, store.rows(f"SELECT * FROM {table}"))) for table in TABLES),
        api.world.faults.shown(),
        api.world.limits.quotas,
        sorted(path.name for path in store.blobs.iterdir()),
    ]


@pytest.fixture
def lived_in(world: Api) -> tuple[Api, dict[str, str]]:
    """An emulator with something to damage; and the names of it."""
    file = world.upload(b"anything").removeprefix("files/")
    world.world.batches.queue_delay = 1e6
    batch = world.begin(lines(2)).removeprefix("batches/")
    cache = world.http.post("/v1beta/cachedContents", json=EFFECTS["cachedContents.create"]).json()["name"]
    arm(world.world, operation="batches.get", status=503)
    return world, {"file": file, "batch": batch, "cache": cache.removeprefix("cachedContents/")}


@pytest.mark.parametrize("page", FOREIGN)
def test_a_web_page_changes_nothing(page: str, lived_in: tuple[Api, dict[str, str]]) -> None:
    """By any route, and it is told nothing but that it is refused."""
    api, names = lived_in
    asked: list[str] = []

    def seen(operation: str, _status: int) -> None:
        asked.append(operation)

    api.world.on_answer = seen
    before = state(api)
    for method, path, operation in every_route(api, **names):
        body = json.dumps(EFFECTS.get(operation, {})).encode()
        status, answer = call(api, method, path, FOREIGN[page], body)
        assert status == 403, (method, path, answer)
    assert state(api) == before
    assert asked == []


def test_an_upload_is_out_of_reach_of_a_page_that_knows_its_address(world: Api) -> None:
    """No chunk, no query, no cancel."""
    url = urlsplit(world.start(8).headers["X-Goog-Upload-URL"])
    before = state(world)
    for command_sent in ("upload, finalize", "upload", "query", "cancel"):
        for page, headers in FOREIGN.items():
            sent = {**headers, "X-Goog-Upload-Command": command_sent, "X-Goog-Upload-Offset": "0"}
            assert call(world, "POST", f"{url.path}?{url.query}", sent, b"12345678")[0] == 403, page
    assert state(world) == before


@pytest.mark.parametrize(
    "kinds",
    [
        [],
        ["text/plain"],
        ["text/plain;charset=UTF-8"],
        ["application/x-www-form-urlencoded"],
        ["multipart/form-data; boundary=x"],
        ["text/json"],
        ["application/jsonl"],
        ["text/plain, application/json"],
        ["text/plain; x=application/json"],
        ["application/json", "text/plain"],
    ],
)
def test_own_routes_need_json(kinds: list[str], lived_in: tuple[Api, dict[str, str]]) -> None:
    """Whoever sends it; what a form can send is not JSON."""
    api, _ = lived_in
    before = state(api)
    for method, path, operation in every_route(api):
        if method == "POST" and operation.startswith("emulator."):
            headers = [("Content-Type", kind) for kind in kinds]
            content = json.dumps(EFFECTS[operation]).encode()
            answer = api.http.post(path, headers=headers, content=content)
            assert answer.status_code == 415
            assert "Content-Type: application/json" in answer.json()["error"]["message"]
    assert state(api) == before


@pytest.mark.parametrize("kind", ["application/json", "Application/JSON; charset=utf-8"])
def test_json_is_accepted(kind: str, world: Api) -> None:
    for operation in ("clock", "faults", "quotas"):
        content = json.dumps(EFFECTS[f"emulator.{operation}"])
        assert world.http.post(f"/emulator/{operation}", headers={"Content-Type": kind}, content=content).is_success


def test_head_moves_no_clock(world: Api) -> None:
    """A body with it is not read."""
    before = world.http.get("/emulator/clock").json()["now"][:13]
    call(world, "HEAD", "/emulator/clock", {"Content-Type": "application/json"}, b'{"advance": 864000}')
    assert world.http.get("/emulator/clock").json()["now"][:13] == before


OURS: list[dict[str, str]] = [
    {},
    {"Host": "127.0.0.1:{port}"},
    {"Host": "127.0.0.1"},
    {"Host": "127.8.9.1:1"},
    {"Host": "localhost:{port}"},
    {"Host": "LocalHost:{port}"},
    {"Host": "localhost.:{port}"},
    {"Host": "127.0.0.1.:{port}"},
    {"Host": "localhost:"},
    {"Host": "[::1]:{port}"},
    {"Host": "[0:0:0:0:0:0:0:1]"},
    {"Host": "[::ffff:127.0.0.1]:{port}"},
    {"Sec-Fetch-Mode": "cors"},  # as Node's fetch sends it
    {"Sec-Fetch-Site": "none"},  # typed into the address bar
    {"Sec-Fetch-Site": "same-origin", "Origin": "http://127.0.0.1:{port}"},
    {"Host": "LOCALHOST:{port}", "Origin": "http://localhost:{port}"},
    {"Host": "localhost", "Origin": "https://localhost"},  # behind a proxy that speaks TLS
]


@pytest.mark.parametrize("headers", OURS, ids=json.dumps)
def test_programs_on_this_machine_are_served(headers: dict[str, str], world: Api) -> None:
    assert call(world, "GET", "/v1beta/models?key=k", headers)[0] == 200
    sent = {**headers, "Content-Type": "application/json"}
    assert call(world, "POST", "/emulator/clock", sent, b'{"advance": 1}')[0] == 200


def test_one_refused_caller_says_how_to_be_served(world: Api) -> None:
    status, answer = call(world, "GET", "/v1beta/models?key=k", {"Host": "gemini.internal:80"})
    assert status == 403
    error = json.loads(answer)["error"]
    assert error["status"] == "PERMISSION_DENIED"
    assert "'gemini.internal:80'" in error["message"]
    assert "--allow-host" in error["message"]


@pytest.mark.parametrize(
    ("allowed", "host", "status"),
    [
        ("gemini.internal", "gemini.internal:8080", 200),
        ("Gemini.Internal.", "GEMINI.internal", 200),
        ("gemini.internal", "x.gemini.internal", 403),
        ("192.0.2.7", "192.0.2.7:1", 200),
        ("2001:db8::7", "[2001:DB8:0::7]:1", 200),
        ("[2001:db8::7]", "[2001:db8::8]", 403),
        ("gemini.internal", "localhost", 200),
    ],
)
def test_further_names(allowed: str, host: str, status: int, tmp_path: Path) -> None:
    with serve(tmp_path, allow_hosts=[allowed]) as running, httpx2.Client(base_url=running.url) as client:
        api = Api(client, running.emulator)
        assert call(api, "GET", "/v1/models?key=k", {"Host": host})[0] == status
        assert call(api, "GET", "/v1/models?key=k", {"Host": host, "Origin": "https://evil.example"})[0] == 403


@pytest.mark.parametrize("text", ["", "*", "http://a.example", "a.example:80", "a.example:", "[::1]:80", "a b", "a/b"])
def test_what_is_not_the_name_of_a_host(text: str) -> None:
    with pytest.raises(UsageError, match="not the name or address") as caught:
        allowed_host(text)
    assert caught.value.field == "--allow-host"
    refused = CliRunner().invoke(cli, ["emulator", "--allow-host", text])
    assert isinstance(refused.exception, UsageError)


def test_uploads_come_back_to_the_name_that_was_called(tmp_path: Path) -> None:
    """The address of an upload has the caller's own host and port."""
    headers = {"X-Goog-Upload-Protocol": "resumable", "X-Goog-Upload-Command": "start", "Host": "files.example:81"}
    with serve(tmp_path, allow_hosts=["files.example"]) as running:
        answer = httpx2.post(f"{running.url}/upload/v1/files?key=k", headers=headers)
    assert answer.headers["X-Goog-Upload-URL"].startswith("http://files.example:81/upload/v1/files?upload_id=")
