"""Programs that were written for the real service, by people who never saw this one, do their work unchanged."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from interop.conftest import used
from interop.homes import interpreter

if TYPE_CHECKING:
    from collections.abc import Callable

ROWS = [{"key": f"row-{n}", "text": text} for n, text in enumerate(["Say one.", "Sag ‘zwei’ – bitte.", "三つ。"])]


@dataclass(frozen=True, kw_only=True)
class Client:
    """A program with its version, how many jobs its script makes, and whether its answers repeat the prompts.

    A program without jobs sends its rows one by one. ``options``: what the emulator is started with, besides its pace.
    """

    name: str
    requirements: tuple[str, ...]
    jobs: int = 1
    echoes: bool = True
    options: tuple[str, ...] = ()


_LLAMA = "llama-index-llms-google-genai==0.11.3"
CLIENTS = [
    Client(name="inspect_ai", requirements=("inspect-ai==0.3.285", "google-genai==3.4.0")),
    Client(name="pydantic_ai", requirements=("pydantic-ai-slim[google]==2.68.0",), echoes=False),
    Client(name="batchwork", requirements=("batchwork-ai==0.3.0",), jobs=2),
    Client(name="steadybatch", requirements=("steadybatch[gemini]==0.2.1",), echoes=False),
    Client(name="loom", requirements=("loom-batch==0.7.0",)),
    Client(name="chatlas", requirements=("chatlas[google]==0.23.0",), echoes=False),
    Client(name="langasync", requirements=("langasync==0.2.3", "langchain-google-genai==4.4.2")),
    Client(name="openai", requirements=("openai==3.57.0",)),
    Client(name="litellm", requirements=("litellm==1.110.2",), jobs=2, options=("--openai-rows",)),
    Client(name="langchain", requirements=("langchain-google-genai==4.4.3",), jobs=0),
    Client(name="llama_index", requirements=(_LLAMA, "llama-index-embeddings-google-genai==0.6.0"), jobs=0),
    Client(
        name="instructor",
        requirements=("instructor==1.17.0", "google-genai==3.6.1", "jsonref"),
        jobs=0,
        echoes=False,
    ),
]


@pytest.mark.interop
@pytest.mark.timeout(900)
@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
def test_three_rows(client: Client, emulator: Callable[..., str], tmp_path: Path) -> None:
    """Through a queue and a slow run; every key has its answer, and each row of a job was paid for once."""
    python = interpreter(client.name, *client.requirements)
    script = Path(__file__).parent / "clients" / f"with_{client.name}.py"
    url = emulator("--queue-delay", "1", "--rows-per-second", "2", *client.options)
    folder = tmp_path / "client"
    folder.mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GOOGLE_", "GEMINI_", "PYTHON"))}
    addresses = {"GOOGLE_GEMINI_BASE_URL": url, "GOOGLE_BASE_URL": url}
    keys = {"GOOGLE_API_KEY": "any", "GEMINI_API_KEY": "any"}
    done = subprocess.run(
        [python, script],
        cwd=folder,
        env={**kept, **addresses, **keys, "HOME": str(folder)},
        input=json.dumps(ROWS),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout.splitlines()[-1])
    assert list(answers) == [row["key"] for row in ROWS]
    for row in ROWS:
        assert answers[row["key"]]
        assert not client.echoes or row["text"] in answers[row["key"]]
    totals = used(url)
    assert (totals["jobs"], totals["rows"], totals["paid"]) == (client.jobs, 3 * client.jobs, 3 * client.jobs)
