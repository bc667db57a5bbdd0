"""Who a request is from: an API key, or, if so started, an OAuth token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx2
from click.testing import CliRunner

from emulator.conftest import Api, lines
from gemini_batch.cli import cli
from gemini_batch.emulator.http import server
from gemini_batch.emulator.http.server import serve

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

TOKEN = "ya29.a-token-that-must-not-be-kept"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


def owner(running: server.Running, **headers: str) -> str | None:
    """The project that a caller with these headers belongs to; None if it is refused as unknown."""
    answer = httpx2.post(f"{running.url}/v1beta/files", headers=headers, json={})
    if answer.status_code == 403:
        assert "unregistered callers" in answer.json()["error"]["message"]
        return None
    row = running.emulator.store.row("SELECT owner FROM files WHERE id = ?", (answer.json()["file"]["name"][6:],))
    assert row is not None
    return str(row["owner"])


def test_tokens_are_refused_unless_they_are_switched_on(world: Api) -> None:
    with httpx2.Client(base_url=world.http.base_url, headers=BEARER) as http:
        refused = http.get("/v1beta/files")
    assert (refused.status_code, refused.json()["error"]["status"]) == (403, "PERMISSION_DENIED")
    assert "unregistered callers" in refused.json()["error"]["message"]


def test_whose_a_request_is(tmp_path: Path) -> None:
    """A key before a token; a named project before the token, which changes every hour."""
    with serve(tmp_path, bearer=True) as running:
        key = owner(running, **{"x-goog-api-key": "k"})
        token = owner(running, **BEARER)
        project = owner(running, **BEARER, **{"x-goog-user-project": "p"})
        assert len({key, token, project}) == 3
        assert owner(running, Authorization=f"bearer   {TOKEN}") == token
        assert owner(running, Authorization="Bearer another", **{"x-goog-user-project": "p"}) == project
        assert owner(running, Authorization="Bearer another") not in {token, project}
        assert owner(running, **BEARER, **{"x-goog-api-key": "k"}) == key
        # A key that reads like a token's text is another project all the same.
        assert owner(running, **{"x-goog-api-key": TOKEN}) != token
        for nobody in ("", "Bearer", "Basic eDp5", TOKEN):
            assert owner(running, Authorization=nobody) is None
            assert owner(running, Authorization=nobody, **{"x-goog-user-project": "p"}) is None


def test_a_whole_life_with_a_token_that_leaves_no_trace(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A file, a job, its output; nothing on the disk or on the screen has the token."""
    with (
        serve(tmp_path, bearer=True) as running,
        httpx2.Client(base_url=running.url, headers=BEARER, timeout=30) as http,
    ):
        api = Api(http, running.emulator)
        assert len(api.results(api.begin(lines(3)))) == 3
        http.post("/emulator/faults", json={"operation": "batches.get", "status": 500})
        shown = [http.get(path).text for path in ("/emulator/accounting", "/emulator/faults", "/v1/batches/none")]
    assert TOKEN not in "".join(shown)
    kept = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert kept
    assert not [data for data in kept if TOKEN.encode() in data]
    assert TOKEN not in "".join(capfd.readouterr())


def test_the_switches_of_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is off unless it is given."""
    begun: list[dict[str, Any]] = []
    monkeypatch.setattr(server, "run_forever", lambda *_, **named: begun.append(named))
    for arguments in ([], ["--bearer"], ["--list-outputs"]):
        assert CliRunner().invoke(cli, ["emulator", *arguments]).exit_code == 0
    assert [(one["bearer"], one["list_outputs"]) for one in begun] == [(False, False), (True, False), (False, True)]
