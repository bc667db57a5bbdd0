"""Large numbers of requests through the Gemini Batch API: one honest answer per request, at half price.

>>> import gemini_batch
>>> job = gemini_batch.create("requests.jsonl", name="nightly")      # doctest: +SKIP
>>> gemini_batch.status(job.job, wait=True).state                    # doctest: +SKIP
'JOB_STATE_SUCCEEDED'
>>> for row in gemini_batch.results(job.job): ...                    # doctest: +SKIP

:class:`GeminiBatch` has the same verbs for many calls over one connection, with settings and events of your choice;
:class:`AsyncGeminiBatch` and :mod:`gemini_batch.aio` have them for ``await``. Everything public is in ``__all__``.
Importing this package loads no network or database module; that happens when a name is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini_batch._version import __version__

if TYPE_CHECKING:
    from gemini_batch import aio
    from gemini_batch.answers.reasons import Verdict
    from gemini_batch.answers.typed import ResultRow
    from gemini_batch.answers.usage import Usage
    from gemini_batch.async_client import AsyncGeminiBatch
    from gemini_batch.catalog import (
        Catalog,
        EnqueuedTokens,
        FeeEntry,
        Limit,
        Limits,
        Method,
        Model,
        PriceEntry,
        Shutdown,
    )
    from gemini_batch.catalog import load as load_catalog
    from gemini_batch.client import (
        GeminiBatch,
        adopt,
        cancel,
        clean,
        create,
        doctor,
        estimate,
        list_jobs,
        prepare,
        results,
        retry,
        run,
        run_shards,
        show,
        spend_report,
        status,
        validate,
    )
    from gemini_batch.commands.adopt import Adopted, Keys
    from gemini_batch.commands.cancel import Cancelled
    from gemini_batch.commands.clean import Cleaned
    from gemini_batch.commands.create import Created
    from gemini_batch.commands.doctor import Diagnosis, Finding
    from gemini_batch.commands.estimate import Estimate
    from gemini_batch.commands.prepare import PreparedFile
    from gemini_batch.commands.show import Shown, ShownRun
    from gemini_batch.commands.shown_row import ShownRow
    from gemini_batch.commands.validate import Validated
    from gemini_batch.errors import (
        ApiError,
        Error,
        Interrupted,
        InvalidInput,
        JobError,
        NetworkError,
        Next,
        NotFinished,
        Problem,
        RowError,
        ServiceError,
        StateError,
        Terminated,
        UsageError,
    )
    from gemini_batch.events import Event, EventHandler, JobSeen, Notice, RunProgress, Transfer
    from gemini_batch.intake.made_shards import answer_files, write_manifest
    from gemini_batch.intake.shards import ShardLine, shards_of
    from gemini_batch.intake.table_options import ArrowStream, TableOptions
    from gemini_batch.money.book import PriceBook, price_on
    from gemini_batch.money.costs import cost
    from gemini_batch.money.limits import MaxUsd
    from gemini_batch.money.own_prices import OwnPrice
    from gemini_batch.prices import Fee, Kind, Price, PriceUsed, Rates, ShortRates, Spend, Unpriced
    from gemini_batch.report.job_view import JobStatus, RunState, RunStatus
    from gemini_batch.report.money import AnsweredBy, LeftOut, Money, PriceNote
    from gemini_batch.report.next_steps import JobErrorInfo, Step
    from gemini_batch.report.result_set import Results, TableStyle
    from gemini_batch.report.shards.answers import AnswerFile, ShardAnswers, ShardsSummary
    from gemini_batch.report.spending.sums import DayAndModel, Spending, SpendReport, Turnaround, Unread
    from gemini_batch.report.summary import Summary, TokenCounts
    from gemini_batch.session import load_prices
    from gemini_batch.settings import Secret, Settings, load_settings
    from gemini_batch.store.ledger.records import JobStage
    from gemini_batch.store.rows.row_records import Reason
    from gemini_batch.transcript.turns import Turn
    from gemini_batch.wire import Phase, RemoteJob

__all__ = [
    "Adopted",
    "AnswerFile",
    "AnsweredBy",
    "ApiError",
    "ArrowStream",
    "AsyncGeminiBatch",
    "Cancelled",
    "Catalog",
    "Cleaned",
    "Created",
    "DayAndModel",
    "Diagnosis",
    "EnqueuedTokens",
    "Error",
    "Estimate",
    "Event",
    "EventHandler",
    "Fee",
    "FeeEntry",
    "Finding",
    "GeminiBatch",
    "Interrupted",
    "InvalidInput",
    "JobError",
    "JobErrorInfo",
    "JobSeen",
    "JobStage",
    "JobStatus",
    "Keys",
    "Kind",
    "LeftOut",
    "Limit",
    "Limits",
    "MaxUsd",
    "Method",
    "Model",
    "Money",
    "NetworkError",
    "Next",
    "NotFinished",
    "Notice",
    "OwnPrice",
    "Phase",
    "PreparedFile",
    "Price",
    "PriceBook",
    "PriceEntry",
    "PriceNote",
    "PriceUsed",
    "Problem",
    "Rates",
    "Reason",
    "RemoteJob",
    "ResultRow",
    "Results",
    "RowError",
    "RunProgress",
    "RunState",
    "RunStatus",
    "Secret",
    "ServiceError",
    "Settings",
    "ShardAnswers",
    "ShardLine",
    "ShardsSummary",
    "ShortRates",
    "Shown",
    "ShownRow",
    "ShownRun",
    "Shutdown",
    "Spend",
    "SpendReport",
    "Spending",
    "StateError",
    "Step",
    "Summary",
    "TableOptions",
    "TableStyle",
    "Terminated",
    "TokenCounts",
    "Transfer",
    "Turn",
    "Turnaround",
    "Unpriced",
    "Unread",
    "Usage",
    "UsageError",
    "Validated",
    "Verdict",
    "__version__",
    "adopt",
    "aio",
    "answer_files",
    "cancel",
    "clean",
    "cost",
    "create",
    "doctor",
    "estimate",
    "list_jobs",
    "load_catalog",
    "load_prices",
    "load_settings",
    "prepare",
    "price_on",
    "results",
    "retry",
    "run",
    "run_shards",
    "shards_of",
    "show",
    "spend_report",
    "status",
    "validate",
    "write_manifest",
]

#: Module -> the public names that stand in it.
_ROOMS = {
    "async_client": "AsyncGeminiBatch",
    "answers.reasons": "Verdict",
    "answers.typed": "ResultRow",
    "answers.usage": "Usage",
    "catalog": ("Catalog EnqueuedTokens FeeEntry Limit Limits Method Model PriceEntry Shutdown load_catalog"),
    "client": (
        "GeminiBatch adopt cancel clean create doctor estimate list_jobs prepare results retry run run_shards show "
        "spend_report status validate"
    ),
    "commands.adopt": "Adopted Keys",
    "commands.cancel": "Cancelled",
    "commands.clean": "Cleaned",
    "commands.create": "Created",
    "commands.doctor": "Diagnosis Finding",
    "commands.estimate": "Estimate",
    "commands.prepare": "PreparedFile",
    "commands.show": "Shown ShownRun",
    "commands.shown_row": "ShownRow",
    "commands.validate": "Validated",
    "errors": (
        "ApiError Error Interrupted InvalidInput JobError NetworkError Next "
        "NotFinished Problem RowError ServiceError StateError Terminated UsageError"
    ),
    "events": "Event EventHandler JobSeen Notice RunProgress Transfer",
    "intake.made_shards": "answer_files write_manifest",
    "intake.shards": "ShardLine shards_of",
    "intake.table_options": "ArrowStream TableOptions",
    "money.book": "PriceBook price_on",
    "money.costs": "cost",
    "money.limits": "MaxUsd",
    "money.own_prices": "OwnPrice",
    "prices": "Fee Kind Price PriceUsed Rates ShortRates Spend Unpriced",
    "report.shards.answers": "AnswerFile ShardAnswers ShardsSummary",
    "report.job_view": "JobStatus RunState RunStatus",
    "report.next_steps": "JobErrorInfo Step",
    "report.result_set": "Results TableStyle",
    "report.money": "AnsweredBy LeftOut Money PriceNote",
    "report.spending.sums": "DayAndModel SpendReport Spending Turnaround Unread",
    "report.summary": "Summary TokenCounts",
    "session": "load_prices",
    "settings": "Secret Settings load_settings",
    "store.ledger.records": "JobStage",
    "store.rows.row_records": "Reason",
    "transcript.turns": "Turn",
    "wire": "Phase RemoteJob",
}
#: Names that are others there.
_NAMES_THERE = {"load_catalog": "load"}
_PLACES = {name: room for room, names in _ROOMS.items() for name in names.split()}
_shown = set[str]()

if not TYPE_CHECKING:  # for them, there is nothing else here

    def __getattr__(name: str) -> object:
        """Import a public name when it is used for the first time."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        if name == "aio":
            return import_module("gemini_batch.aio")
        value = getattr(import_module(f"gemini_batch.{_PLACES[name]}"), _NAMES_THERE.get(name, name))
        _show_as_ours()
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        """The whole face, also what is not imported yet: a notebook completes from this."""
        return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})

    def _show_as_ours() -> None:
        """Let everything public that is imported by now say that it stands here: tracebacks show what users type."""
        import contextlib
        import inspect
        import sys

        for room in _ROOMS.keys() - _shown:
            module = sys.modules.get(f"gemini_batch.{room}")
            if module is None or getattr(module.__spec__, "_initializing", False):  # by another thread
                continue
            _shown.add(room)
            for name in _ROOMS[room].split():
                value = getattr(module, _NAMES_THERE.get(name, name))
                if isinstance(value, type):
                    # Annotations are text, and are read with the names of the class's module: later it is this one.
                    with contextlib.suppress(NameError):  # names that only type checkers import are never read
                        value.__annotations__ = inspect.get_annotations(value, eval_str=True)
                if isinstance(value, type) or inspect.isroutine(value):
                    value.__module__, value.__name__, value.__qualname__ = __name__, name, name
