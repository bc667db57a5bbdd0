"""The library for ``await``: a client that stays open over many calls, and each of its verbs as a function.

>>> async with gemini_batch.AsyncGeminiBatch() as batch:                       # doctest: +SKIP
...     job = await batch.create("requests.jsonl", name="nightly")
...     await batch.status(job.job, wait=True)
...     for row in await batch.results(job.job): ...

>>> await gemini_batch.aio.status("batches/abc123")                            # doctest: +SKIP

The verbs are those of :class:`gemini_batch.AsyncGeminiBatch`. :class:`gemini_batch.GeminiBatch` has the same ones
without ``await``.
"""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from gemini_batch.async_client import AsyncGeminiBatch

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

__all__ = [
    "AsyncGeminiBatch",
    "adopt",
    "cancel",
    "clean",
    "create",
    "doctor",
    "estimate",
    "list_jobs",
    "prepare",
    "results",
    "retry",
    "run",
    "run_shards",
    "show",
    "spend_report",
    "status",
    "validate",
]

P = ParamSpec("P")
T = TypeVar("T")


def _shortcut(
    method: Callable[Concatenate[AsyncGeminiBatch, P], Coroutine[Any, Any, T]],
) -> Callable[P, Coroutine[Any, Any, T]]:
    """A verb as a function: one call, with the settings of the environment, and everything closed afterwards."""

    async def function(*args: P.args, **kwargs: P.kwargs) -> T:
        async with AsyncGeminiBatch() as batch:
            return await method(batch, *args, **kwargs)

    return named_as(method, function, __name__)


def named_as(method: Callable[..., Any], function: Callable[P, T], module: str) -> Callable[P, T]:
    """Give a function the name, the documentation and the parameters (without ``self``) of a method."""
    _, *parameters = inspect.signature(method).parameters.values()
    signature = inspect.signature(method).replace(parameters=parameters)
    vars(functools.update_wrapper(function, method)).update(__signature__=signature)
    del vars(function)["__wrapped__"]  # it would show `self` again
    function.__module__, function.__qualname__ = module, method.__name__
    return function


adopt = _shortcut(AsyncGeminiBatch.adopt)
cancel = _shortcut(AsyncGeminiBatch.cancel)
clean = _shortcut(AsyncGeminiBatch.clean)
create = _shortcut(AsyncGeminiBatch.create)
doctor = _shortcut(AsyncGeminiBatch.doctor)
list_jobs = _shortcut(AsyncGeminiBatch.list_jobs)
estimate = _shortcut(AsyncGeminiBatch.estimate)
prepare = _shortcut(AsyncGeminiBatch.prepare)
results = _shortcut(AsyncGeminiBatch.results)
retry = _shortcut(AsyncGeminiBatch.retry)
run = _shortcut(AsyncGeminiBatch.run)
run_shards = _shortcut(AsyncGeminiBatch.run_shards)
show = _shortcut(AsyncGeminiBatch.show)
spend_report = _shortcut(AsyncGeminiBatch.spend_report)
status = _shortcut(AsyncGeminiBatch.status)
validate = _shortcut(AsyncGeminiBatch.validate)
