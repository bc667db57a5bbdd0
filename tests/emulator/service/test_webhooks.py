"""A job's webhook is kept with it and shown; nothing is delivered."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx2

if TYPE_CHECKING:
    from gemini_batch.testing import GeminiEmulator


def test_the_webhook_of_a_job_is_kept(gemini_emulator: GeminiEmulator) -> None:
    """Both spellings come in; the user's own names inside stay as they are."""
    hook = {"uris": ["https://example.com/done"], "user_metadata": {"my_run": "7", "camelCase": "x"}}
    row = {"request": {"contents": [{"parts": [{"text": "Hello"}]}]}}
    batch = {"inputConfig": {"requests": {"requests": [row]}}, "webhook_config": hook}
    with httpx2.Client(base_url=gemini_emulator.url, headers={"x-goog-api-key": "k"}) as http:
        made = http.post("/v1/models/gemini-3.8-flash:batchGenerateContent", json={"batch": batch}).json()
        found = http.get(f"/v1/{made['name']}").json()

    kept = {"uris": ["https://example.com/done"], "userMetadata": {"my_run": "7", "camelCase": "x"}}
    assert made["metadata"]["webhookConfig"] == found["metadata"]["webhookConfig"] == kept
