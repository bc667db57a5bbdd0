"""The pages about verdicts and result lines, held to what the code does."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from gemini_batch.answers.media import file_stem
from gemini_batch.answers.parse import Answer, parse_line
from gemini_batch.answers.reasons import FINISHES, GRPC_NAMES, MESSAGES, TRANSIENT_CODES, VERDICTS
from gemini_batch.answers.result_line import result_line
from gemini_batch.answers.verdict import judge
from gemini_batch.catalog import Method
from gemini_batch.protocol.schema_checker import checker_of
from gemini_batch.validation.validate import Checked, check_line

DOCS = Path(__file__).parents[2] / "docs"
VERDICT_PAGE = (DOCS / "verdicts.md").read_text("utf-8")
LINE_PAGE = (DOCS / "result-line.md").read_text("utf-8")


def table(heading: str, *, number: int = 0) -> list[list[str]]:
    """The cells of a table under a heading, without the backticks around a whole cell."""
    section = re.split(r"^#+ ", VERDICT_PAGE.split(f"# {heading}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]
    blocks = re.findall(r"(?:^\|.*\n)+", section, flags=re.MULTILINE)
    rows = [[cell.strip() for cell in row.strip("|").split(" | ")] for row in blocks[number].splitlines()[2:]]
    return [[cell[1:-1] if re.fullmatch(r"`[^`]*`", cell) else cell.strip(" |") for cell in row] for row in rows]


def check(answer: Answer, verdict: str, reason: str, **asked: Any) -> None:
    found = judge(answer, **{"method": Method.GENERATE, **asked})
    assert (found.verdict, found.reason or "") == (verdict, reason)


def answer(**fields: str) -> Answer:
    body = "".join(f',"{name}":{value}' for name, value in fields.items())
    found = parse_line(f'{{"key":"a"{body}}}'.encode())
    assert isinstance(found, Answer)
    return found


@pytest.mark.parametrize("row", table("Answers to requests for generation"), ids=lambda row: row[0])
def test_shapes_of_a_generation(row: list[str]) -> None:
    check(answer(response=row[0]), row[1], row[2])


@pytest.mark.parametrize("row", table("Answers to requests for an embedding"), ids=lambda row: row[0][:60])
def test_shapes_of_an_embedding(row: list[str]) -> None:
    check(answer(response=row[0]), row[1], row[2], method=Method.EMBED, dimension=3)


@pytest.mark.parametrize("row", table("Requests for JSON"), ids=lambda row: row[0])
def test_texts_that_should_be_json(row: list[str]) -> None:
    body = {"candidates": [{"content": {"parts": [{"text": row[0]}]}, "finishReason": "STOP"}]}
    check(answer(response=json.dumps(body)), row[1], row[2], expects_json=True)


@pytest.mark.parametrize("row", table("Requests with a schema"), ids=lambda row: f"{row[0][:40]} {row[1]}")
def test_texts_that_should_satisfy_a_schema(row: list[str]) -> None:
    body = {"candidates": [{"content": {"parts": [{"text": row[1]}]}, "finishReason": "STOP"}]}
    schema = json.loads(row[0])
    field = "responseSchema" if schema["type"].isupper() else "responseJsonSchema"
    config = {"responseMimeType": "application/json", field: schema}
    line = {"key": "a", "request": {"contents": [{"parts": [{"text": "x"}]}], "generationConfig": config}}
    checked = check_line(json.dumps(line).encode(), 1)
    assert isinstance(checked, Checked)
    check(
        answer(response=json.dumps(body)),
        row[2],
        row[3],
        expects_json=checked.expects_json,
        checker=checker_of(checked.schema),
    )


@pytest.mark.parametrize("row", table("Row errors"), ids=lambda row: row[0])
def test_row_errors(row: list[str]) -> None:
    found = judge(answer(error=row[0]), method=Method.GENERATE)
    assert (found.verdict, found.reason, "" if found.code is None else str(found.code)) == ("failed", row[1], row[2])


def test_codes() -> None:
    rows = table("Row errors", number=1)
    assert {int(code): name for code, name, _ in rows} == {c: name for c, name in GRPC_NAMES.items() if c}
    assert {int(code) for code, _, again in rows if again.startswith("yes")} == TRANSIENT_CODES


def test_finish_reasons() -> None:
    rows = table("Finish reasons")
    written = {
        name: verdict for names, verdict in rows for name in re.findall(r"[A-Z_]+", names) if verdict in VERDICTS
    }
    assert written == FINISHES


def test_verdicts() -> None:
    assert tuple(row[0] for row in table("Verdicts")) == VERDICTS


def test_every_reason_is_on_the_page() -> None:
    for reason in MESSAGES:
        if not reason.startswith("PROMPT_"):
            assert f"`{reason}`" in VERDICT_PAGE, reason


EXAMPLES = re.findall(r"^```json\n(.*)\n```$", LINE_PAGE, flags=re.MULTILINE)


def test_there_is_an_example_of_each_kind() -> None:
    assert [json.loads(line)["verdict"] for line in EXAMPLES] == [
        "succeeded",
        "succeeded",
        "truncated",
        "blocked",
        "failed",
        "missing",
        "succeeded",
        "succeeded",
        "succeeded",
    ]


@pytest.mark.parametrize("line", EXAMPLES, ids=lambda line: json.loads(line)["key"])
def test_an_example_is_what_we_write(line: str) -> None:
    shown = json.loads(line)
    response, error = shown.get("response"), shown.get("error", {})
    parsed = None
    media = {} if response is None else {"media": response.pop("media", None)}
    if response is not None:
        response.pop("text", None)
        parsed = response.pop("parsed", None)
    embedding = response is not None and "embedding" in response
    written = result_line(
        shown["key"],
        shown["verdict"],
        reason=error.get("reason"),
        code=error.get("code"),
        message=error.get("message"),
        response=None if response is None else json.dumps(response, separators=(",", ":")).encode(),
        method=Method.EMBED if embedding else Method.GENERATE,
        attempt=shown["attempt"],
        parsed=parsed is not None,
        details=shown.get("details"),
    ).decode()
    if media.get("media"):
        written = written.replace('},"attempt"', f',"media":{json.dumps(media["media"])}}},"attempt"')
    assert written == line


@pytest.mark.parametrize("line", [line for line in EXAMPLES if '"response"' in line], ids=range(7))
def test_an_example_has_the_verdict_of_its_response(line: str) -> None:
    shown = json.loads(line)
    method: Any = Method.EMBED if "embedding" in shown["response"] else Method.GENERATE
    if "media" in shown["response"]:
        shown["response"]["candidates"][0]["content"]["parts"][1]["inlineData"]["data"] = "iVBORw=="
    asked: Any = {"expects_json": "parsed" in shown["response"]}
    found = judge(answer(response=json.dumps(shown["response"])), method=method, **asked)
    assert (found.verdict, found.reason) == (shown["verdict"], shown.get("error", {}).get("reason"))
    assert found.message == shown.get("error", {}).get("message")


def test_the_name_of_a_file_is_true() -> None:
    key, name = re.search(r"`([^`]+)` → `([^`]+)\.png`", LINE_PAGE).groups()  # type: ignore[union-attr]
    assert file_stem(key) == name
