"""The answer to a create that speaks of another job: it is not adopted, and the real one is searched for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from engine.fake import FakeService, Job
from engine.steps import GOOD, KEYS, ONCE, begin, held, texts

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("inline", [False, True])
@pytest.mark.parametrize(
    "stated",
    [
        {"display_name": "of another team"},
        {"model": "gemini-3-pro-image"},
        {"file_name": "files/of-another-team"},
        {"keys": ["k0", "k1", "k2", "other"]},
        {"display_name": "of another team", "keys": ["other"]},
    ],
    ids=" ".join,
)
def test_an_answer_with_another_job_is_not_adopted(
    service: FakeService, tmp_path: Path, stated: dict[str, Any], *, inline: bool
) -> None:
    real = service.create

    async def mixed_up(**how: Any) -> Any:
        await real(**how)
        mine = service.jobs[-1]
        words: dict[str, Any] = {"display_name": mine.display_name, "keys": mine.keys, "file_name": None, **stated}
        other = Job("batches/foreign", model=words.pop("model", mine.model), method=mine.method, created=0.0, **words)
        return service._operation(other)

    service.create = mixed_up  # type: ignore[method-assign]
    if inline and "file_name" in stated:
        pytest.skip("an inline job has no file to compare")
    job = begin(service, tmp_path, inline=inline).job

    assert job == "batches/job0"
    service.polls_to_end = 0
    assert texts(held(service, tmp_path, job)) == GOOD
    assert service.paid() == ONCE


@pytest.mark.parametrize("stated", [{}, {"display_name": ""}, {"keys": []}, {"keys": KEYS[:2]}])
def test_an_answer_with_our_file_is_ours(service: FakeService, tmp_path: Path, stated: dict[str, Any]) -> None:
    """The name of the file was used once: it is proof, whatever else is stated."""
    operation = service._operation

    def saying(job: Job) -> Any:
        words = {"display_name": job.display_name, "keys": job.keys, **stated}
        other = Job(job.name, model=job.model, method=job.method, created=0.0, file_name=job.file_name, **words)
        return operation(other)

    service._operation = saying  # type: ignore[method-assign]

    assert begin(service, tmp_path).job == "batches/job0"
    assert service.calls.count("list") == 0
