"""Programs that ask a model directly, and have no batches: the other half of a program that makes batches."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from conformance import environments

if TYPE_CHECKING:
    from collections.abc import Callable

CLIENTS = ("ai@7.0.173", "@ai-sdk/google@4.0.121")


@pytest.mark.interop
@pytest.mark.timeout(600)
def test_vercel_ai(emulator: Callable[..., str], tmp_path: Path) -> None:
    """Texts at once and in a stream, an object, a tool call, embeddings, and a refusal, as the SDK shows them."""
    url = emulator()
    script = Path(__file__).parent / "clients" / "with_vercel_ai.mjs"
    home = environments.node("vercel-ai", *CLIENTS)
    shutil.copy(script, home)  # a script finds packages beside itself only
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GOOGLE_", "GEMINI_"))}
    done = subprocess.run(
        [*environments.node_program(), home / script.name],
        env={**kept, "GOOGLE_GEMINI_BASE_URL": url, "GOOGLE_GENERATIVE_AI_API_KEY": "any", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    for way, prompt in (("text", "Say one."), ("stream", "Sag ‘zwei’ – bitte.")):
        assert prompt in seen[way]["text"]
        assert seen[way]["finishReason"] == "stop"
        usage = seen[way]["usage"]
        assert 0 < usage["inputTokens"] < usage["totalTokens"] == usage["inputTokens"] + usage["outputTokens"]
    assert len(seen["chunks"]) > 1
    assert "".join(seen["chunks"]) == seen["stream"]["text"]
    assert {name: type(value) for name, value in seen["object"].items()} == {"city": str, "people": int}
    (call,) = seen["calls"]
    assert call["toolName"] == "weather"
    assert isinstance(call["input"]["city"], str)
    assert seen["one"] == 3072
    assert seen["many"] == [8, 8]
    status, message = seen["refusal"]
    assert status == 404
    assert "models/gemini-0 is not found" in message
