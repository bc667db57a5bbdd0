"""A month of made-up jobs, the same in every run: what pages and their picture in the docs are made of."""

from __future__ import annotations

import datetime as dt
import random

from gemini_batch.money.book import PriceBook, default_book
from gemini_batch.money.costs import cost_of, counts_of
from gemini_batch.prices import LONG_PROMPT
from gemini_batch.report.spending.facts import AnswerFacts, Facts, JobFacts
from gemini_batch.report.spending.sums import By, SpendReport, spend_report

TODAY = dt.date(2026, 11, 26)
#: Models, with how many tokens an answer has about: prompt, cached, output, thoughts.
MODELS = {
    "gemini-3-flash-preview": (900, 300, 220, 400),
    "gemini-3.1-pro-preview": (2400, 0, 500, 1500),
    "gemini-2.5-flash-lite": (500, 0, 90, 0),
}
_EMPTY = dict.fromkeys(
    (
        *("input", "cached", "output", "thoughts", "tool_use", "audio_input", "image_output", "image_input"),
        *("video_input", "cached_audio", "audio_output", "searches", "maps", "searched", "uncounted"),
    ),
    0,
)


def answers(
    run: str,
    ordinal: int,
    day: dt.date,
    model: str,
    use: str,
    count: int,
    each: dict[str, int],
    *,
    prices: PriceBook | None = None,
    known: bool = True,
) -> AnswerFacts:
    """So many answers, each of which used ``each``; ``known``: and says so."""
    sums = _EMPTY | {kind: count * used for kind, used in each.items()}
    sums |= {"answers": count, "known": count if known else 0}
    price = (prices or default_book()).price_on(model, day)
    spend = cost_of(sums, model, price, long=each.get("input", 0) > LONG_PROMPT)
    waste = None if use == "succeeded" else use if use in {"truncated", "duplicate", "retried"} else "failed"
    return AnswerFacts(run, ordinal, day, model, use, waste, count, counts_of(sums, price), spend)


def job(run: str, ordinal: int, day: dt.date, model: str, requests: int, **known: object) -> JobFacts:
    """A collected job that answered everything within an hour, but for what is ``known`` to be different."""
    usual = JobFacts(run, ordinal, "nightly", day, model, requests, True, False, 0, 0, None, 3600.0)
    return usual._replace(**known)  # type: ignore[arg-type]


def month(names: tuple[str, ...] = tuple(MODELS), *, days: int = 30, jobs: int = 2) -> Facts:
    """``days`` days up to today with up to ``jobs`` jobs a day of each model."""
    chance, facts = random.Random(7), Facts()
    for number in range(days):
        day = TODAY - dt.timedelta(days=days - 1 - number)
        quiet = day.weekday() >= 5
        for at, model in enumerate(names):
            usual = MODELS.get(model, (700, 0, 150, 200))
            for one in range(jobs):
                if chance.random() < (0.75 if quiet else 0.25) + 0.1 * at:
                    continue
                run, count = f"run-{number:03}{at}{one}", chance.randrange(800, 9000)
                each = dict(zip(("input", "cached", "output", "thoughts"), usual, strict=True))
                bad = {
                    "truncated": chance.randrange(count // 30),
                    "blocked": chance.randrange(count // 60),
                    "failed": chance.randrange(count // 40),
                }
                missing = chance.randrange(count // 50)
                facts.answers.append(
                    answers(run, 1, day, model, "succeeded", count - sum(bad.values()) - missing, each)
                )
                facts.answers += [answers(run, 1, day, model, use, many, each) for use, many in bad.items() if many]
                took = 240.0 * (1 + 60 * chance.random() ** 4 * (at + 1)) + count / 10
                facts.jobs.append(
                    job(
                        run,
                        1,
                        day,
                        model,
                        count,
                        missing=missing,
                        unanswered=missing,
                        most=missing * 400_000,
                        took=took,
                        name=f"nightly {day}",
                    )
                )
    return facts


def a_month(by: By = "day") -> SpendReport:
    """The report of the last thirty days."""
    return spend_report(month(), by=by, since=TODAY - dt.timedelta(days=29), until=TODAY)
