"""Large piles of requests through the Gemini Batch API: one honest answer per request, at half price.

>>> import gemini_batch
>>> job = gemini_batch.create("requests.jsonl", name="nightly")      # doctest: +SKIP
>>> gemini_batch.status(job.job, wait=True).state                    # doctest: +SKIP
'JOB_STATE_SUCCEEDED'
>>> for row in gemini_batch.results(job.job): ...                    # doctest: +SKIP

The same functions for ``await`` are in :mod:`gemini_batch.aio`; errors in :mod:`gemini_batch.errors`. Importing this
package imports no network and no database.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import os
    from collections.abc import Coroutine

    from gemini_batch.runs.create import Created
    from gemini_batch.runs.events import Tell
    from gemini_batch.runs.results import Results
    from gemini_batch.runs.status import Status
    from gemini_batch.settings import Settings

__all__ = ["create", "results", "status"]
__version__ = "1.0.0"

T = TypeVar("T")


def _nobody(_: object) -> None:
    pass


def _blocking(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end, also where a loop is running in this thread already (a notebook)."""
    import asyncio

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


def create(
    input_file: str | os.PathLike[str],
    *,
    model: str | None = None,
    name: str | None = None,
    limit: int | None = None,
    inline: bool = False,
    new: bool = False,
    offline: bool | None = None,
    settings: Settings | None = None,
    on_event: Tell = _nobody,
) -> Created:
    """Make one batch job of a JSONL file, or attach to the job it already has: :func:`gemini_batch.aio.create`."""
    from gemini_batch import aio

    return _blocking(
        aio.create(
            input_file,
            model=model,
            name=name,
            limit=limit,
            inline=inline,
            new=new,
            offline=offline,
            settings=settings,
            on_event=on_event,
        )
    )


def status(
    job_name: str,
    *,
    wait: bool = False,
    offline: bool | None = None,
    settings: Settings | None = None,
    on_event: Tell = _nobody,
) -> Status:
    """How a job stands; with ``wait``, once it has ended: :func:`gemini_batch.aio.status`."""
    from gemini_batch import aio

    return _blocking(aio.status(job_name, wait=wait, offline=offline, settings=settings, on_event=on_event))


def results(
    job_name: str,
    *,
    output: str | os.PathLike[str] | None = None,
    media_dir: str | os.PathLike[str] | None = None,
    offline: bool | None = None,
    settings: Settings | None = None,
    on_event: Tell = _nobody,
) -> Results:
    """The answers of an ended job, one a key, in the order of the input: :func:`gemini_batch.aio.results`."""
    from gemini_batch import aio

    return _blocking(
        aio.results(job_name, output=output, media_dir=media_dir, offline=offline, settings=settings, on_event=on_event)
    )
