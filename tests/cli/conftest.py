"""The command line in this process: words in, streams and exit code out; and an address that counts its callers."""

from __future__ import annotations

import os
import socket
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from gemini_batch import cli

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

KEY = "AIza-secret-of-the-tests"


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return msgspec.json.decode(self.out)


class Trap:
    """Listens, and counts who comes: where nothing may be sent, nobody does."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self.callers = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                caller, _ = self._socket.accept()
            except OSError:
                return
            self.callers += 1
            caller.close()

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def trap() -> Iterator[Trap]:
    made = Trap()
    yield made
    made.close()


@dataclass
class Shell:
    """A user's folder and home; ``run`` is one command."""

    folder: Path
    home: Path
    capture: pytest.CaptureFixture[str]

    def run(self, *words: str) -> Done:
        code = cli.execute([str(word) for word in words])
        out, err = self.capture.readouterr()
        assert "Traceback" not in err, err
        assert KEY not in out + err
        return Done(code, out, err)

    def write(self, name: str, *lines: object) -> Path:
        path = self.folder / name
        path.write_bytes(
            b"".join((line if isinstance(line, bytes) else msgspec.json.encode(line)) + b"\n" for line in lines)
        )
        return path

    def files(self) -> set[str]:
        """Everything in the user's folder, and the run folders."""
        places = [self.folder, self.home / "runs", self.home / "offline" / "runs"]
        return {
            str(Path(base) / name)
            for place in places
            for base, folders, names in os.walk(place)
            for name in names + folders
        }


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return Shell(folder, tmp_path / "home", capsys)


def request(key: object = "a", **more: Any) -> dict[str, Any]:
    """A good request line, or one that is spoiled by ``more``."""
    return {"key": key, "request": {"contents": [{"parts": [{"text": "Hello"}]}], **more}}
