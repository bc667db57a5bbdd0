"""What is resent unasked, and what only when the user says so: requests without an answer, jobs after a cancel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from engine.fake import FakeService, answer_line
from engine.steps import PAIRS, again, reasons, work
from gemini_batch.store.ledger.run_options import RunOptions

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("options", [PAIRS, RunOptions(attempts=10)], ids=["three attempts", "ten attempts"])
@pytest.mark.parametrize("answered_at", [2, 3, None])
def test_an_unanswered_row_is_sent_again_once(
    service: FakeService, tmp_path: Path, answered_at: int | None, options: RunOptions
) -> None:
    """Each attempt may have been billed, so one more than that is for the user to ask for."""
    service.answer_at = lambda key, attempt: (
        None if key == "k2" and (answered_at is None or attempt < answered_at) else answer_line(key)
    )

    found = work(service, tmp_path, options=options)

    assert reasons(found) == ({} if answered_at == 2 else {"k2": "NO_LINE"})
    assert service.paid()["k2"] == 2
    assert found.summary.unanswered == (1 if answered_at == 2 else 2)
    assert work(service, tmp_path, found.summary.run, None).summary == found.summary
    assert service.paid()["k2"] == 2
    if answered_at != 2:
        asked = again(service, tmp_path, found.summary.run, "missing")
        assert reasons(asked) == ({} if answered_at == 3 else {"k2": "NO_LINE"})
        assert service.paid()["k2"] == (3 if answered_at == 3 else 4)


def test_an_unanswered_row_that_failed_before_is_not_sent_again(service: FakeService, tmp_path: Path) -> None:
    service.answer_at = lambda key, attempt: (
        answer_line(key)
        if key != "k2"
        else msgspec.json.encode({"error": {"code": 13, "message": "why"}, "key": key})
        if attempt == 1
        else None
    )

    assert reasons(work(service, tmp_path)) == {"k2": "INTERNAL"}
    assert service.paid()["k2"] == 2
