"""The page on local models: its commands run, its lists are complete, its tables are what happens."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from docs.conftest import make_shell  # noqa: F401 - a fixture
from docs.pages import ROOT, blocks, read, without_blocks
from emulator.conftest import line
from emulator.responders.conftest import Reply, completion
from gemini_batch.answers.parse import Answer, parse_line
from gemini_batch.answers.verdict import judge
from gemini_batch.catalog import Method
from gemini_batch.protocol.tables import messages

if TYPE_CHECKING:
    from collections.abc import Callable

    from docs.conftest import Shell
    from emulator.responders.conftest import Open, Stub

PAGE = ROOT / "docs" / "local-models.md"


def rows(heading: str) -> list[list[str]]:
    """The cells of the tables under a heading."""
    section = re.split(r"^## ", without_blocks(read(PAGE)), flags=re.MULTILINE)
    (text,) = (part for part in section if part.startswith(heading))
    found = [[cell.strip() for cell in row.split("|")[1:-1]] for row in re.findall(r"^\|.*\|$", text, re.MULTILINE)]
    return [row for row in found if not set(row[0]) <= {"-"}]


def test_the_commands_as_written(make_shell: Callable[..., Shell]) -> None:  # noqa: F811 - the fixture
    shell = make_shell()
    (block,) = (block for block in blocks(PAGE) if block.language == "bash")
    shell.run(f"trap 'kill $EMULATOR 2>/dev/null || true' EXIT\n{block.text}wait $EMULATOR || true\ntrap - EXIT")
    answers = [(row["key"], row["verdict"], row["response"]["text"]) for row in shell.rows("results.jsonl")]
    assert answers == [("r1", "succeeded", "glad"), ("r2", "succeeded", "cross")]


@pytest.mark.parametrize("message", ["GenerateContentRequest", "GenerationConfig", "EmbedContentRequest"])
def test_every_field_of_a_request_is_on_the_page(message: str) -> None:
    """Passed on, left out or refused: nothing is dropped that the page does not name."""
    named = set(re.findall(r"`(\w+)`", without_blocks(read(PAGE))))
    assert {field.name for field in messages()[message].fields} - {"generationConfig"} <= named


def test_the_codes_in_the_table(stub: Stub, emulate: Open) -> None:
    """Every status that the page names, tried."""
    expected = {
        int(status): int(code)
        for what, code in rows("What comes back")[6:]
        for status in re.findall(r"`(\d{3})`", what)
    }
    assert len(expected) == 14
    statuses = iter(expected)
    stub.answer = lambda body: Reply({"error": "no"}, next(statuses))
    with emulate(f"openai={stub.url},concurrency=1") as api:
        found = api.results(api.begin(b"\n".join(line(f"k{n}") for n in range(len(expected)))))
    assert [row["error"]["code"] for row in found] == list(expected.values())


@pytest.mark.parametrize(
    ("message", "finish", "row"),
    [
        ({}, "stop", 0),
        ({"content": None, "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}, "tool_calls", 0),
        ({}, "length", 1),
        ({}, "content_filter", 2),
        ({"content": None, "refusal": "No."}, "stop", 2),
        ({}, "something new", 3),
        ({}, None, 3),
    ],
)
def test_the_verdicts_in_the_table(
    stub: Stub, emulate: Open, message: dict[str, Any], finish: str | None, row: int
) -> None:
    _, reason, verdict = (cell.strip("`") for cell in rows("What comes back")[1 + row])
    made = completion()
    made["choices"][0]["message"] |= message
    made["choices"][0]["finish_reason"] = finish
    stub.answer = lambda body: Reply(made)
    with emulate(f"openai={stub.url}") as api:
        (found,) = api.results(api.begin(line("a")))
    assert found["response"]["candidates"][0]["finishReason"] == reason
    answer = parse_line(msgspec.json.encode(found))
    assert isinstance(answer, Answer)
    assert judge(answer, method=Method.GENERATE).verdict == verdict
