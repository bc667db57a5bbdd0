"""What a run cost: totals equal a hand-made sum over all answers, whatever they were and however often they came."""

from __future__ import annotations

import datetime as dt
import itertools
import shutil
import tempfile
from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.fake import write_requests
from gemini_batch.catalog import Method
from gemini_batch.cli.results import summary_lines
from gemini_batch.commands.shown_row import ShownRowReader
from gemini_batch.engine.judging import judge_file
from gemini_batch.events import ignore_events
from gemini_batch.intake.staging import stage
from gemini_batch.money.book import default_book
from gemini_batch.prices import LONG_PROMPT, total
from gemini_batch.report.job_view import facts_of
from gemini_batch.report.money import Meter
from gemini_batch.report.result_set import Results, TableStyle
from gemini_batch.report.spending.facts import Facts
from gemini_batch.report.spending.reading import read_run
from gemini_batch.report.spending.sums import BY, spend_report
from gemini_batch.report.summary import Summary, summarize
from gemini_batch.store.ledger.records import Job, JobStage, Run
from gemini_batch.store.state_folder import RunFolder, StateFolder
from gemini_batch.tables.outputs.columns import DETAILS

KEYS = ["a", "b", "c", "d"]
ASKED = "gemini-4-argon"
#: The last minute before a new price, and the first with it.
MADE = (
    dt.datetime(2026, 11, 30, 23, 59, tzinfo=dt.UTC).timestamp(),
    dt.datetime(2026, 12, 1, 0, 0, tzinfo=dt.UTC).timestamp(),
)
#: USD per million tokens (per thousand uses) in a batch, by model and job: from the catalog's sources, by hand.
FLASH = {"input": ".25", "cached": ".05", "output": "1.5", "audio": ".5", "cached_audio": ".1", "search": "14"}
PRO = {"input": "1", "cached": ".2", "output": "6", "search": "14"}
PRO_LONG = {"input": "2", "cached": ".4", "output": "9", "search": "14"}
PICTURES = {"input": "1", "output": "6", "image": "60", "search": "14"}
BY_HAND: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    ASKED: (
        {"input": "1", "cached": ".05", "output": "5", "search": "14"},
        {"input": "2", "cached": ".1", "output": "10", "search": "14"},
    ),
    "gemini-3-flash-preview": (FLASH, FLASH),
    "gemini-3.1-pro-preview": (PRO, PRO),
    "gemini-3-pro-image": (PICTURES, PICTURES),
    "gemini-2.5-flash-lite": (
        {"input": ".05", "cached": ".01", "output": ".2", "prompt": "35"},
        {"input": ".05", "cached": ".01", "output": ".2", "prompt": "35"},
    ),
    "gemini-99-ultra": ({}, {}),
}


@dataclass(frozen=True)
class Given:
    """One answer line of the service, and what of it is to be paid for."""

    outcome: str
    model: str | None
    text: int
    audio: int
    cached: int
    cached_audio: int
    tool_use: int
    wrote: int
    thoughts: int
    images: int
    queries: int
    maps: bool
    usage: str

    def line(self, key: str) -> bytes:
        if self.outcome == "error":
            return msgspec.json.encode({"error": {"code": 13, "message": "x"}, "key": key})
        candidate: dict[str, Any] = {"content": {"parts": [{"text": "x"}]}, "finishReason": "STOP"}
        if self.outcome == "truncated":
            candidate["finishReason"] = "MAX_TOKENS"
        grounding: dict[str, Any] = {
            "webSearchQueries": [f"q{n}" for n in range(self.queries)] + ["", "q0"][: self.queries]
        }
        if self.maps:
            grounding["groundingChunks"] = [{"maps": {"placeId": "p"}}]
        candidate["groundingMetadata"] = grounding
        body: dict[str, Any] = {"candidates": [candidate]}
        if self.outcome == "blocked":
            body = {"promptFeedback": {"blockReason": "SAFETY"}}
        if self.model is not None:
            body["modelVersion"] = self.model
        usage: dict[str, Any] = {
            "promptTokenCount": self.prompt,
            "cachedContentTokenCount": self.cached + self.cached_audio,
            "toolUsePromptTokenCount": self.tool_use,
            "promptTokensDetails": [
                {"modality": "TEXT", "tokenCount": self.text + self.cached},
                {"modality": "AUDIO", "tokenCount": self.audio + self.cached_audio},
            ],
            "cacheTokensDetails": [{"modality": "AUDIO", "tokenCount": self.cached_audio}],
        }
        if self.outcome != "blocked":
            usage |= {
                "candidatesTokenCount": self.wrote + self.images,
                "thoughtsTokenCount": self.thoughts,
                "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": self.images}],
            }
        if self.usage == "partial":
            usage = {"promptTokenCount": self.prompt}
        if self.usage != "none":
            body["usageMetadata"] = usage
        return msgspec.json.encode({"response": body, "key": key})

    @property
    def prompt(self) -> int:
        return self.text + self.audio + self.cached + self.cached_audio

    def by_hand(self, job: int) -> tuple[Decimal, Counter[str]]:
        """What the answer cost, and what of it is not known."""
        left: Counter[str] = Counter()
        if self.outcome == "error":
            return Decimal(0), left
        answered = self.outcome != "blocked"
        model = self.model or ASKED
        rates = BY_HAND[model][job]
        if model == "gemini-3.1-pro-preview" and self.usage != "none" and self.prompt > LONG_PROMPT:
            rates = PRO_LONG
        whole = self.usage == "whole"
        counts = {
            "input": self.text + self.tool_use if whole else self.prompt if self.usage == "partial" else 0,
            "audio": self.audio if whole else 0,
            "cached": self.cached if whole else 0,
            "cached_audio": self.cached_audio if whole else 0,
            "output": self.wrote + self.thoughts if whole and answered else 0,
            "image": self.images if whole and answered else 0,
        }
        queries = self.queries if answered else 0
        per_prompt = "prompt" in rates
        uses = {"prompt": int(queries > 0)} if per_prompt else {"search": queries}
        if self.usage == "none" or (self.usage == "partial" and answered):
            left["usage"] += 1
        if not rates:
            if any(counts.values()) or queries or (answered and self.maps):
                left["price"] += 1
            return Decimal(0), left
        usd = Decimal(0)
        for kind, count in counts.items():
            if kind in rates:
                usd += Decimal(rates[kind]) * count / 10**6
            elif count:
                left[kind] += count
        for kind, count in uses.items():
            usd += Decimal(rates[kind]) * count / 1000
        if answered and self.maps:
            if per_prompt:
                usd += Decimal("0.025")
            else:
                left["maps"] += 1
        return usd, left


answers = st.builds(
    Given,
    outcome=st.sampled_from(["good", "good", "truncated", "blocked", "error"]),
    model=st.sampled_from([None, *BY_HAND]),
    text=st.one_of(st.integers(1, 5_000), st.integers(190_000, 260_000)),
    audio=st.sampled_from([0, 0, 700]),
    cached=st.sampled_from([0, 4_096]),
    cached_audio=st.sampled_from([0, 0, 300]),
    tool_use=st.integers(0, 900),
    wrote=st.integers(1, 3_000),
    thoughts=st.integers(0, 3_000),
    images=st.sampled_from([0, 0, 1_290]),
    queries=st.integers(0, 3),
    maps=st.sampled_from([False, False, True]),
    usage=st.sampled_from(["whole", "whole", "whole", "partial", "none"]),
)
#: The answers of a job to each key: none, one, or the same key twice.
lines = st.lists(st.lists(answers, max_size=2), min_size=len(KEYS), max_size=len(KEYS))

_FOLDER = Path(tempfile.mkdtemp(prefix="gemini-batch-money-"))
_NUMBERS = itertools.count()
_NAMES = {"audio_input": "audio", "cached_audio": "cached_audio", "cached": "cached", "image_output": "image"}


def template() -> Path:
    run = RunFolder(_FOLDER / "template" / "run-a")
    run.path.mkdir(parents=True)
    stage(write_requests(_FOLDER / "in.jsonl", KEYS), run, max_bytes=10**9)
    return run.path


_TEMPLATE = template()


@settings(max_examples=40)
@given(lines, lines)
def test_totals_equal_a_hand_made_sum(first: list[list[Given]], second: list[list[Given]]) -> None:
    """Two jobs, the second one for what the first did not answer well, on two sides of a new price."""
    home = StateFolder(_FOLDER / f"home{next(_NUMBERS)}")
    folder = home.run("run-a")
    shutil.copytree(_TEMPLATE, folder.path)
    try:
        check(home, folder, first, second)
    finally:
        shutil.rmtree(home.path)


def check(home: StateFolder, folder: RunFolder, first: list[list[Given]], second: list[list[Given]]) -> None:
    run = Run(
        id="run-a", identity="i", origin="made", created_at=MADE[0], method=Method.GENERATE, model=ASKED,
        backend="x", requests=len(KEYS), bytes=0, sha256="", source=None,
    )  # fmt: skip
    jobs, came = [], list[tuple[int, str, Given]]()
    folder.raw("x").parent.mkdir()
    for number, given_lines in enumerate((first, second)):
        ordinal = number + 1
        with folder.rows() as rows:
            if ordinal == 2:
                rows.choose(["failed", "truncated", "blocked", "missing"], [1])
            if rows.take(ordinal, requests=100, bytes=10**9, tokens=None) is None:
                break
            carried = {key for key, *_ in rows.members(ordinal)}
        job = Job(
            id=f"run-a-{ordinal}", run="run-a", ordinal=ordinal, model=ASKED, requests=len(carried), tokens=0,
            part=None, offset=0, bytes=0, sha256="", input_kind="file", display_name="n", stage=JobStage.COLLECTED,
            batch=f"batches/x{ordinal}", state="JOB_STATE_SUCCEEDED", total=len(carried), created_at=MADE[number],
        )  # fmt: skip
        jobs.append(job)
        mine = [
            (number, key, one) for key, some in zip(KEYS, given_lines, strict=True) if key in carried for one in some
        ]
        came += mine
        folder.raw(job.id).write_bytes(b"".join(one.line(key) + b"\n" for _, key, one in mine))
        judge_file(ignore_events, folder, run, job, "NO_LINE")

    usd, left = Decimal(0), Counter[str]()
    for number, _, one in came:
        part, unknown = one.by_hand(number)
        usd += part
        left += unknown

    prices = default_book()
    with folder.rows() as rows:
        usage = rows.usage(LONG_PROMPT)
    parts = list(Meter(run, jobs, prices).parts(usage))
    whole = total(part.spend for part in parts)
    found: Counter[str] = Counter()
    for unpriced, count in whole.unpriced.items():
        kind = unpriced.kind.value if unpriced.kind else None
        found[_NAMES.get(kind, kind) if kind else unpriced.why] += count
    assert whole.priced == usd
    # Sums do not tell which answers of a model without a price stated nothing, so these may count as well.
    silent = sum(1 for _, _, one in came if one.model == "gemini-99-ultra" and one.outcome != "error")
    assert left["price"] <= found["price"] <= silent
    assert found - Counter(price=found["price"]) == left - Counter(price=left["price"])

    facts = facts_of(folder, run, tuple(jobs))
    summary = summarize(home, run, jobs, of=facts, prices=prices, offline=False)
    if came:
        assert summary.usd.batch == (float(usd) if usd or not left else None)
        assert summary.usd.at_least == bool(left)
    assert sum(summary.usd.by_kind.values()) == pytest.approx(float(usd))
    waste = waste_by_hand(came)
    useful = waste.pop("good", Decimal(0))
    assert total(part.spend for part in parts if part.waste is None).priced == useful
    assert summary.usd.wasted == {use: float(part) for use, part in waste.items() if part}
    assert "\n".join(summary_lines(summary, None)).count("cost: ") == 1

    check_report(home, run, jobs, summary, usd, waste, came)
    with ShownRowReader.open(run, jobs, folder, prices, offline=False) as reader:
        shown = [reader.shown(row) for row in reader.rows.placed()]
    assert sum(row.usd.batch or 0 for row in shown) == pytest.approx(float(usd))
    detailed = Results(run, jobs, home, summary, prices, _style=TableStyle(details=True))
    for row, cells, line in zip(shown, detailed.to_arrow().to_pylist(), detailed, strict=True):
        answered = [one for _, key, one in came if key == row.key]
        if len(answered) == 1 and answered[0].outcome != "error":
            assert cells["usd"] == (None if row.usd.at_least else row.usd.batch)
        assert list(line.get("details", ())) == ([name for name, _ in DETAILS[:-1]] if "response" in line else [])
        assert {name: cells[name] for name in line.get("details", ())} == line.get("details", {})


def check_report(
    home: StateFolder,
    run: Run,
    jobs: list[Job],
    summary: Summary,
    usd: Decimal,
    waste: dict[str, Decimal],
    came: list[tuple[int, str, Given]],
) -> None:
    """The report has the same sums, all together and by anything."""
    found = read_run(home.run(run.id), run, jobs, default_book())
    t = summary.tokens
    for by in BY:
        report = spend_report(Facts(found.jobs, found.answers), by=by, until=dt.date(2026, 12, 1))
        assert report.total.usd == msgspec.structs.replace(summary.usd, wasted=report.total.usd.wasted)
        assert report.total.usd.wasted == {use: float(part) for use, part in waste.items() if part}
        assert sum(group.usd.batch or 0 for group in report.groups) == pytest.approx(float(usd))
        assert report.total.verdicts == {verdict: count for verdict, count in summary.verdicts.items() if count}
        assert report.total.answers == len(came)
        assert report.total.unanswered == sum(job.requests for job in jobs) - len({came_to[:2] for came_to in came})
        assert sum(report.total.tokens.values()) == (t.input + t.output + t.thoughts + t.tool_use)
    days = spend_report(Facts(found.jobs, found.answers), by="day", until=dt.date(2026, 12, 1)).groups
    assert [group.name for group in days] == ["2026-11-30", "2026-12-01"][: len(jobs)]
    for number, group in enumerate(days):
        parts = [one.by_hand(number)[0] for of, _, one in came if of == number]
        assert (group.usd.batch or 0) == pytest.approx(float(sum(parts)))


def waste_by_hand(came: list[tuple[int, str, Given]]) -> dict[str, Decimal]:
    """What was spent for nothing, by reason, and for good answers.

    The first good answer of a key counts, of the last job that gave one; else the first answer of its last job.
    """
    found: dict[str, Decimal] = {}
    for key in KEYS:
        mine = [(number, one) for number, of, one in came if of == key]
        ranks = [(one.outcome != "good", -number, place) for place, (number, one) in enumerate(mine)]
        final = ranks.index(min(ranks)) if ranks else None
        for place, (number, one) in enumerate(mine):
            use = {"good": "good", "truncated": "truncated"}.get(one.outcome, "failed")
            if final is not None and place != final:
                use = "duplicate" if number == mine[final][0] else "retried"
            found[use] = found.get(use, Decimal(0)) + one.by_hand(number)[0]
    return found
