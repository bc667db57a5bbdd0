"""The page on schedulers shows the programs that are run, and names the versions they are run with.

And what the adapter for Airflow makes of a prompt, without Airflow.
"""

from __future__ import annotations

import importlib
import re
import sys
from importlib.metadata import entry_points
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from docs.pages import ROOT, blocks, read
from schedulers.conftest import NEEDS

if TYPE_CHECKING:
    from collections.abc import Callable

PAGE = ROOT / "docs" / "schedulers.md"
PROGRAMS = ("airflow_batch.py", "airflow_prompts.py", "dagster_asset.py", "prefect_flow.py")


def test_the_page_shows_the_programs_as_they_are() -> None:
    shown = [block.text for block in blocks(PAGE) if block.language == "python"]
    assert shown == [(ROOT / "examples" / name).read_text(encoding="utf-8") for name in PROGRAMS]


@pytest.mark.parametrize("name", PROGRAMS)
def test_they_are_short(name: str) -> None:
    assert len((ROOT / "examples" / name).read_text(encoding="utf-8").splitlines()) <= 60


def test_the_versions_are_those_that_are_run() -> None:
    told = dict(re.findall(r"^\| ([a-z-]+) \| (\d[\d.]+) \|", read(PAGE), re.MULTILINE))
    run = [one.split("==") for needs in NEEDS.values() for one in needs if "==" in one]
    assert told == dict(run)


def test_airflow_finds_the_adapter() -> None:
    """By an entry point that is named as its models begin."""
    (found,) = entry_points(group="airflow.providers.common.ai.batch_adapters", name="google")
    assert found.value == "gemini_batch.airflow:GeminiBatchAdapter"


def test_without_airflow_the_adapter_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "airflow", None)
    with pytest.raises(ImportError, match=r"pip install 'gemini-batch\[airflow\]'"):
        importlib.import_module("gemini_batch.airflow")


@pytest.fixture
def body(monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """How the adapter makes a request, without Airflow."""
    base, exceptions = ModuleType("base"), ModuleType("exceptions")
    for name in ("BatchAdapter", "BatchState", "ExtractedOutput", "RawResultItem", "SubmitResult"):
        setattr(base, name, type(name, (), {}))
    for name in ("LLMBatchInputError", "LLMBatchLimitExceededError", "LLMBatchModelMismatchError"):
        setattr(exceptions, name, type(name, (Exception,), {}))
    package = "airflow.providers.common.ai"
    parents = ["airflow", "airflow.providers", "airflow.providers.common", package, f"{package}.batch"]
    for name in parents:
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, f"{package}.batch.base", base)
    monkeypatch.setitem(sys.modules, f"{package}.exceptions", exceptions)
    monkeypatch.delitem(sys.modules, "gemini_batch.airflow", raising=False)
    module = importlib.import_module("gemini_batch.airflow")
    del sys.modules["gemini_batch.airflow"]
    found: Callable[..., dict[str, Any]] = module._body
    return found


@pytest.mark.parametrize("name", ["systemInstruction", "system_instruction"])
def test_an_instruction_among_the_parameters_is_sent(body: Callable[..., dict[str, Any]], name: str) -> None:
    ours, others = ({"parts": [{"text": text}]} for text in ("ours", "others'"))
    for request, batch in (({name: ours}, {}), ({}, {name: ours}), ({name: ours}, {"systemInstruction": others})):
        made = body({"prompt": "hi", "params": request}, {}, {"request_params": batch})
        assert made["systemInstruction"] == ours
        assert "system_instruction" not in made
    made = body({"prompt": "hi", "params": {name: others}, "system_prompt": "ours"}, {}, {})
    assert made["systemInstruction"] == ours
    assert "system_instruction" not in made


def test_settings_of_a_prompt_come_before_those_of_the_batch_one_by_one(body: Callable[..., dict[str, Any]]) -> None:
    batch = {"request_params": {"generationConfig": {"temperature": 0.1, "topK": 5}, "top_p": 1, "contents": []}}
    request = {"prompt": "hi", "params": {"generation_config": {"topK": 3}, "model": "no"}, "max_tokens": 9}
    made = body(request, {"responseMimeType": "application/json"}, batch)
    assert made["generationConfig"] == {
        "temperature": 0.1,
        "topK": 3,
        "top_p": 1,
        "maxOutputTokens": 9,
        "responseMimeType": "application/json",
    }
    assert made["contents"] == [{"role": "user", "parts": [{"text": "hi"}]}]
    assert "model" not in made
