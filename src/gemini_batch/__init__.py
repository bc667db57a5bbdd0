"""Large piles of requests through the Gemini Batch API: one honest answer per request, at half price.

>>> import gemini_batch
>>> job = gemini_batch.create("requests.jsonl", name="nightly")      # doctest: +SKIP
>>> gemini_batch.status(job.job, wait=True).state                    # doctest: +SKIP
'JOB_STATE_SUCCEEDED'
>>> for row in gemini_batch.results(job.job): ...                    # doctest: +SKIP

These are the blocking faces of the functions in :mod:`gemini_batch.aio`, which are for ``await``: the same names,
arguments and results. Errors are in :mod:`gemini_batch.errors`. Importing this package imports no network and no
database; that happens when a function is used for the first time.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from gemini_batch._version import __version__ as __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

__all__ = [
    "cancel",
    "clean",
    "create",
    "doctor",
    "jobs",
    "results",
    "retry",
    "run",
    "status",
    "validate",
]

P = ParamSpec("P")
T = TypeVar("T")


def _blocking(function: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, T]:
    """The same function for a caller who does not ``await``, also where a loop runs already (a notebook)."""

    @functools.wraps(function)
    def twin(*args: P.args, **kwargs: P.kwargs) -> T:
        import asyncio

        if asyncio._get_running_loop() is None:  # noqa: SLF001 - documented for this: the question without an exception
            return asyncio.run(function(*args, **kwargs))
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(1) as pool:
            return pool.submit(lambda: asyncio.run(function(*args, **kwargs))).result()

    return twin


if TYPE_CHECKING:
    from gemini_batch import aio

    cancel = _blocking(aio.cancel)
    clean = _blocking(aio.clean)
    create = _blocking(aio.create)
    doctor = _blocking(aio.doctor)
    jobs = _blocking(aio.jobs)
    results = _blocking(aio.results)
    retry = _blocking(aio.retry)
    run = _blocking(aio.run)
    status = _blocking(aio.status)
    validate = _blocking(aio.validate)
else:

    def __getattr__(name: str) -> Any:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from gemini_batch import aio

        twin = globals()[name] = _blocking(getattr(aio, name))
        return twin
