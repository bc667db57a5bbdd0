"""The rates, against what the service counted for prompts that others recorded."""

from __future__ import annotations

import json
import re
from pathlib import Path

from gemini_batch.tokens.classes import CLASSES, SCRIPTS
from gemini_batch.tokens.estimate import of_tally
from gemini_batch.tokens.media import generation
from gemini_batch.tokens.table import MEASURED, RATES
from token_fit.__main__ import TARGET, page
from token_fit.records import FOLDER, for_fit, for_test, read, script_of

RECORDS = read()
DOCS = (Path(__file__).parents[2] / "docs" / "tokens.md").read_text("utf-8")


def test_the_band_holds_for_95_percent_of_the_texts_that_were_not_fitted() -> None:
    tested = for_test(RECORDS)
    assert len(tested) >= 40, "too few texts to say anything of 95 % of them"
    estimates = [(one, of_tally(one.tally, one.model)) for one in tested]
    missed = [(one.source, one.tokens, found) for one, found in estimates if not found.low <= one.tokens <= found.high]
    assert len(missed) <= len(tested) * 0.05, missed
    # A band that is always wide enough says nothing.
    widths = sorted(found.high / found.low for one, found in estimates if one.tokens > 1000)
    assert widths[-1] < 2


def test_the_expected_number_is_not_far_from_english_prompts_and_code() -> None:
    for one in RECORDS:
        if "rig" in one.source or "english" in one.source or "code.txt" in one.source:
            found = of_tally(one.tally, one.model)
            assert abs(found.tokens - one.tokens) <= max(2, 0.2 * one.tokens), one.source


def test_no_source_is_on_both_sides() -> None:
    fit, tested = for_fit(RECORDS), for_test(RECORDS)
    assert len(fit) + len(tested) == len(RECORDS)
    assert not {one.source for one in fit} & {one.source for one in tested}
    assert all(one.exact for one in tested)
    assert {script_of(one.tally) for one in fit} >= {script_of(one.tally) for one in tested}


def test_the_table_is_what_the_fit_makes_of_the_records() -> None:
    assert TARGET.read_text("utf-8") == page(RECORDS)


def test_every_record_names_its_source_and_a_model() -> None:
    for line in (FOLDER / "recorded.jsonl").read_text("utf-8").splitlines():
        record = json.loads(line)
        assert re.fullmatch(r"github\.com/[\w.-]+/[\w.-]+ \S.*", record["source"])
        assert generation(record["model"]) is not None
        assert record["field"] in {"promptTokenCount", "totalTokens", "total_token_count", "prompt_tokens"}
        assert ("request" in record) + ("udhr" in record) + ("counts" in record) == 1


def test_scripts_are_measured_if_a_text_is_recorded() -> None:
    recorded = {script_of(one.tally) for one in for_fit(RECORDS)} - {""}
    assert recorded <= set(MEASURED) <= recorded | {"signs", "emoji"}
    assert set(RATES) == set(MEASURED) | (set(CLASSES) - set(SCRIPTS))
    assert all(0 <= low <= rate <= high for low, rate, high in RATES.values())


def test_the_page_lists_what_is_measured() -> None:
    rows = dict(re.findall(r"^\| ([A-Z][a-z]+)[^|]* \| (\d+) \|", DOCS, flags=re.MULTILINE))
    assert {name.lower(): int(count) for name, count in rows.items()} == {
        name: count for name, count in MEASURED.items() if name not in {"signs", "emoji"}
    }
    unmeasured = DOCS.split("Unmeasured scripts: ", 1)[1].split(".", 1)[0]
    named = {name.strip().lower() for name in re.split(r",| and ", unmeasured)}
    assert named == set(SCRIPTS) - set(MEASURED) - {"others"}
    assert f"{len(RECORDS)} counts" in DOCS
    assert f"{len(for_fit(RECORDS))} of them" in DOCS
    assert f"{len(for_test(RECORDS))} others" in DOCS
