"""What every command prints under narrow encodings, and with names that are not text: escapes, and never an error."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from cli.conftest import request

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes only on Linux")

ENCODINGS = {
    "utf-8": {"PYTHONIOENCODING": "utf-8"},
    "cp1252": {"PYTHONIOENCODING": "cp1252"},
    "cp932": {"PYTHONIOENCODING": "cp932"},
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "the C locale": {"PYTHONUTF8": "0", "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"},
}
#: Umlauts, an emoji, Japanese, Hebrew with a mark of direction, a control character.
KEYS = ["plain", "Grüße", "🎉", "日本", "שלום\u202e", "tab\there", "esc\x1b[31m"]
NAME = "Überblick 🎉 日本 שלום"
#: File names that are not UTF-8; `日` is there whole.
IN, BAD, MISSING, OUT, MEDIA = (
    name.encode() + b"-\xff-\xe6\x97\xa5" for name in ("in.jsonl", "bad.jsonl", "missing.jsonl", "out.jsonl", "media")
)
SHORT = {"generationConfig": {"maxOutputTokens": 8}}

#: words -> exit code. ``JOB`` and ``RUN`` stand for the names of the job and its run.
COMMANDS: list[tuple[list[str | bytes], int]] = [
    (["create", IN], 0),
    (["create", IN, "--name", b"\xff"], 2),
    (["create", IN, "--model", b"\xff"], 2),
    (["create", BAD], 2),
    (["create", MISSING], 2),
    (["status", "JOB"], 0),
    (["status", "RUN"], 0),
    (["status", b"\xff\xe6\x97\xa5"], 2),
    (["results", "JOB"], 1),
    (["results", "JOB", "-o", OUT], 1),
    (["results", "JOB", "--raw"], 1),
    (["results", "JOB", "--media-dir", MEDIA], 1),
    (["results", "JOB", "-o", b"no/\xff/folder"], 2),
    (["run", IN, "-o", OUT], 1),
    (["run", IN, "--new", "--name", NAME], 1),
    (["retry", "RUN", "--only", "truncated", "-o", OUT], 1),
    (["retry", "RUN", "--only", b"\xff"], 2),
    (["show", "JOB"], 0),
    (["show", "RUN", "plain", "--grep", "hello"], 0),
    (["show", "RUN", b"\xff"], 2),
    (["list"], 0),
    (["list", "--name", "日本"], 0),
    (["list", "--name", b"\xff"], 0),
    (["cancel", "JOB"], 0),
    (["clean", "--yes"], 0),
    (["validate", IN], 0),
    (["validate", BAD], 1),
    (["validate", MISSING], 2),
    (["models"], 0),
    (["models", b"\xff"], 2),
    (["doctor"], 0),
    (["skill", "install"], 0),
    (["skill", b"\xff"], 2),
]
WITHOUT_JSON: list[tuple[list[str | bytes], int]] = [
    (["--help"], 0),
    (["create", "--help"], 0),
    (["emulator", "--list-scenarios"], 0),
    ([b"\xff\xe6\x97\xa5"], 2),
    (["list", b"--\xff"], 2),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's folder with a finished job whose requests, keys and names are unusual."""
    made = tmp_path_factory.mktemp("user")
    lines = [*(request(key) for key in KEYS), request("short 🎉", **SHORT)]
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    (made / os.fsdecode(IN)).write_text(text, encoding="utf-8")
    bad = '{"key":"ключ 🎉\\u001b","request":{"contents":[{"parts":[{"text":"日本"}],"role":"🎉"}]}}\n' * 2
    (made / os.fsdecode(BAD)).write_text(bad, encoding="utf-8")
    done = typed(made, "utf-8", ["create", IN, "--name", NAME])
    assert done.returncode == 0, done
    job = done.stdout.decode().strip()
    assert typed(made, "utf-8", ["results", job]).returncode == 1
    (one,) = json.loads(typed(made, "utf-8", ["list", "--json"]).stdout)["result"]
    (made / "names").write_text(f"{one['job']} {one['run']}")
    return made


def typed(folder: Path, encoding: str, words: list[str | bytes]) -> subprocess.CompletedProcess[bytes]:
    names = (folder / "names").read_text().split() if (folder / "names").exists() else ["", ""]
    meant = {"JOB": names[0], "RUN": names[1]}
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("LC_", "LANG", "PYTHONIO", "PYTHONUTF8"))
    }
    return subprocess.run(
        [sys.executable, "-m", "gemini_batch", *(meant.get(w, w) if isinstance(w, str) else w for w in words)],
        cwd=folder,
        env={
            **kept,
            "LC_ALL": "C.UTF-8",
            "GEMINI_BATCH_HOME": str(folder / "home"),
            "GEMINI_BATCH_OFFLINE": "1",
            **ENCODINGS[encoding],
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        timeout=60,
    )


def shown(data: bytes, encoding: str) -> str:
    """Output as a terminal of that encoding reads it; it has no control character but line ends."""
    try:
        text = data.decode("ascii" if encoding == "the C locale" else encoding)
    except UnicodeDecodeError:
        text = data.decode("utf-8")  # lines of results are always UTF-8
    assert not [c for c in text if ord(c) < 32 and c not in "\n\t"], text
    return text


def check(folder: Path, encoding: str, words: list[str | bytes], code: int) -> subprocess.CompletedProcess[bytes]:
    done = typed(folder, encoding, words)
    if encoding == "the C locale" and NAME in words:
        code = 2  # there, an argument is bytes, and a display name has to be text
    assert done.returncode == code, (words, done)
    for said in (done.stdout, done.stderr):
        text = shown(said, encoding)
        assert "Traceback" not in text, (words, text)
        assert "unexpected" not in text, (words, text)
    return done


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_what_every_command_prints(folder: Path, encoding: str) -> None:
    # What differs between two encodings shows in a few commands; where a locale is bytes, any may stumble.
    every = 1 if encoding in {"utf-8", "the C locale"} else 3
    for words, code in (*COMMANDS, *WITHOUT_JSON)[::every]:
        check(folder, encoding, words, code)
    listed = shown(typed(folder, encoding, ["list"]).stdout, encoding)
    if encoding in {"cp1252", "cp932"}:
        assert "\\U0001f389" in listed
    assert len(listed.splitlines()) >= 1


def test_json_is_utf_8_whatever_the_encoding(folder: Path) -> None:
    """One document, errors included; a name that is not text stands in it with escapes."""
    for words, code in COMMANDS[::2]:
        done = check(folder, "the C locale", [*words, "--json"], code)
        document = json.loads(done.stdout.decode("utf-8").splitlines()[-1])
        assert document["command"] == words[0]
    error = json.loads(typed(folder, "utf-8", ["create", MISSING, "--json"]).stdout)["error"]
    assert error["file"] == "missing.jsonl-\\udcff-日"


def test_a_file_whose_name_is_not_text_has_its_results(folder: Path) -> None:
    check(folder, "utf-8", ["run", IN, "-o", OUT], 1)

    rows = [json.loads(line) for line in (folder / os.fsdecode(OUT)).read_bytes().splitlines()]
    assert [row["key"] for row in rows] == [*KEYS, "short 🎉"]


def test_a_state_folder_whose_name_is_not_text(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    env = {**os.environ, "GEMINI_BATCH_HOME": str(folder / "home"), "GEMINI_BATCH_OFFLINE": "1"}
    home = os.fsencode(folder) + b"/home-\xff"
    program = [sys.executable, "-m", "gemini_batch"]

    def run(*words: str | bytes) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [*program, *words],
            cwd=folder,
            env={**{k.encode(): v.encode() for k, v in env.items()}, b"GEMINI_BATCH_HOME": home},
            capture_output=True,
            check=False,
        )

    made = run("create", IN)
    job = made.stdout.decode().strip()
    ends = [
        run(*words).returncode
        for words in (["status", job, "--wait"], ["results", job, "--json"], ["list", "--json"], ["doctor", "--json"])
    ]
    assert (made.returncode, ends) == (0, [0, 1, 0, 0])
    assert run("status", "run-unknown", "--json").returncode == 2
