"""``adopt`` of a job that the official SDK created in another process, over a socket."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import msgspec
import pytest

from cli.conftest import Shell, request
from gemini_batch.emulator.http.server import serve

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("google.genai")

MODEL = "gemini-3.1-flash-lite"
PROGRAM = """
import sys
from google import genai
client = genai.Client(api_key="a-key")
if sys.argv[2] == "file":
    source = client.files.upload(file=sys.argv[1], config={"mime_type": "application/jsonl"}).name
else:
    source = [
        {"metadata": {"key": key}, "contents": [{"parts": [{"text": key}], "role": "user"}]} for key in sys.argv[3:]
    ]
print(client.batches.create(model="MODEL", src=source).name)
""".replace("MODEL", MODEL)


@pytest.mark.parametrize("how", ["file", "inline"])
def test_a_job_of_the_official_sdk(shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """Made of three requests, adopted with a file of four: the fourth is sent, the others are not paid for again."""
    with serve(tmp_path / "service") as service:
        monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", service.url)
        monkeypatch.setenv("GEMINI_API_KEY", "a-key")
        theirs = shell.write("theirs.jsonl", *(request(key) for key in "abc"))
        shell.write("requests.jsonl", *(request(key) for key in "abcd"))
        words = [sys.executable, "-c", PROGRAM, str(theirs), how, *"abc"]
        job = subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()

        done = shell.run("adopt", job, "requests.jsonl")
        assert done.code == 0, done.err
        run = done.out.strip()
        finished = shell.run("run", run, "-o", "results.jsonl", "--poll", "0.1")
        assert finished.code == 0, finished.err
        lines = (shell.folder / "results.jsonl").read_bytes().splitlines()
        assert [msgspec.json.decode(line)["key"] for line in lines] == list("abcd")
        assert shell.run("adopt", job, "requests.jsonl").out.strip() == run
        listed = shell.run("list", "--remote").out
        assert listed.count("batches/") == 2
        assert "not made on this machine" not in listed
