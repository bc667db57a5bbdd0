"""The skill's detail pages: their JSON is JSON, their numbers are the catalog's, and they say when to read them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gemini_batch.catalog import load

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
PAGES = sorted((ROOT / "references").glob("*.md"))
DOCS = [ROOT / "docs" / "service.md", ROOT / "docs" / "exit-codes.md"]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(language: str) -> Iterator[tuple[str, str]]:
    for page in (*PAGES, *DOCS):
        text = page.read_text(encoding="utf-8")
        for match in BLOCK.finditer(text):
            if match[1] == language:
                yield f"{page.name}:{text.count(chr(10), 0, match.start()) + 1}", match[2]


def requests() -> Iterator[Any]:
    page = (ROOT / "references" / "request-format.md").read_text(encoding="utf-8")
    for match in BLOCK.finditer(page):
        if match[1] == "jsonl":
            for line in match[2].splitlines():
                yield pytest.param(json.loads(line), id=json.loads(line)["key"])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_begins_with_its_title_and_when_to_read_it(page: Path) -> None:
    title, blank, when, *_ = page.read_text(encoding="utf-8").splitlines()
    assert title.startswith("# ")
    assert not blank
    assert when.startswith("Read this ")


def test_every_json_block_is_json() -> None:
    found = list(blocks("json"))
    assert found
    for where, text in found:
        assert isinstance(json.loads(text), dict), where


def test_every_line_of_a_jsonl_block_is_an_object() -> None:
    found = list(blocks("jsonl"))
    assert found
    for where, text in found:
        for line in text.splitlines():
            assert isinstance(json.loads(line), dict), f"{where}: {line}"


@pytest.mark.parametrize("line", list(requests()))
def test_the_example_lines_have_the_shape_that_the_page_teaches(line: dict[str, Any]) -> None:
    assert list(line) == ["key", "request"]
    request = line["request"]
    assert set(request) <= {
        "content", "contents", "systemInstruction", "generationConfig", "tools", "safetySettings", "cachedContent",
        "taskType", "outputDimensionality",
    }  # fmt: skip
    assert ("contents" in request) != ("content" in request)
    for content in request.get("contents", [request.get("content")]):
        assert content["parts"]


def test_the_python_examples_write_request_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = list(blocks("python"))
    assert found
    for where, code in found:
        exec(compile(code, where, "exec"), {})
        lines = (tmp_path / "requests.jsonl").read_bytes().split(b"\n")
        assert lines.pop() == b""
        assert [sorted(json.loads(line)) for line in lines] == [["key", "request"]] * len(lines), where


def test_example_keys_are_unique() -> None:
    keys = [one.id for one in requests()]
    assert len(keys) == len(set(keys))


def test_the_models_that_the_pages_name_are_known() -> None:
    for page in PAGES:
        for name in re.findall(
            r"`(?:--model )?(gemini-[\w.]*\d[\w.-]*|gemini-[\w-]+-latest)`", page.read_text("utf-8")
        ):
            assert load().find(name), f"{page.name} names {name}"


def test_the_cheapest_model_is_the_same_everywhere() -> None:
    """Of the models for text that anyone can use on the day of the catalog, by the batch price of its answers."""
    day = load().date
    prices = {
        one.name: output
        for one in load().models.values()
        if one.kind == "text" and one.status_on(day) != "gone" and not one.existing_users_only
        if (price := one.price_on(day)) is not None and price.batch is not None
        if (output := price.batch.output) is not None
    }
    cheapest = min(prices, key=lambda name: prices[name])

    assert f"| the lowest price | `{cheapest}`" in (ROOT / "references" / "models-and-prices.md").read_text("utf-8")
    assert f"The cheapest model is `{cheapest}`." in (ROOT / "SKILL.md").read_text("utf-8")


@pytest.mark.parametrize(
    ("row", "value"),
    [
        ("| active jobs, per project | {} |", load().limits.concurrent_jobs.value),
        ("| inline requests, whole body | 20 MB ({:,} bytes) |", load().limits.inline_body_bytes.value),
        ("| lifetime of an uploaded file | {} hours |", load().limits.file_life_hours.value),
        ("| waiting and running time of a job | {} hours, then EXPIRED |", load().limits.job_expiry_hours.value),
        ("| usual turnaround | under {} hours, mostly far less |", load().limits.target_hours.value),
        ("| lifetime of results | about {} weeks |", load().limits.results_kept_days.value // 7),
        ("| input file | {} GB |", load().limits.input_file_bytes.value // 1024**3),
        ("| file storage, per project | {} GB |", load().limits.storage_bytes.value // 1024**3),
    ],
)
def test_the_limits_are_those_of_the_catalog(row: str, value: int) -> None:
    assert row.format(value) in (ROOT / "references" / "limits-and-troubles.md").read_text(encoding="utf-8")
