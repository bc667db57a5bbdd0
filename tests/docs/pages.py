"""The pages as these tests see them. The language of a code block says what is done with it:

=============== ==================================================================================================
``bash``        run, every command of it has to end with 0
``python``      run, in the order of the page and in the same folder; one with a pytest fixture runs as a test
``sql``         run against a real run
``json``        parsed as one document
``jsonl``       parsed line by line
``console``     a transcript; compared with what the demo prints
``sh``          shown only: it installs something, needs a real key, or serves until it is interrupted
``text``        a picture in characters
=============== ==================================================================================================

``docs/exit-codes.md`` shows fragments of shell scripts; its ``bash`` blocks have a test of their own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
TOP = ("SKILL.md", "README.md", "ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")
LANGUAGES = frozenset({"bash", "python", "sql", "json", "jsonl", "console", "sh", "text", "toml"})
_FENCE = re.compile(r"^```(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#{1,4} (.+)$", re.MULTILINE)
_SPAN = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block: where it is, under which heading, in which language."""

    where: str
    heading: str
    language: str
    text: str


@cache
def pages() -> tuple[Path, ...]:
    """Every page of the project."""
    top = (ROOT / name for name in TOP)
    return (*top, *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "references").glob("*.md")))


@cache
def read(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def without_blocks(text: str) -> str:
    """The page with its blocks blanked out, so that a ``#`` in a shell script is no heading."""
    return _FENCE.sub(lambda found: "\n" * found[0].count("\n"), text)


def headings(text: str) -> list[str]:
    return [found[1] for found in _HEADING.finditer(without_blocks(text))]


@cache
def blocks(page: Path) -> tuple[Block, ...]:
    """The blocks of a page, in order."""
    text = read(page)
    found = []
    for match in _FENCE.finditer(text):
        before = without_blocks(text[: match.start()])
        above = headings(before)
        line = text.count("\n", 0, match.start()) + 1
        found.append(Block(f"{page.name}:{line}", above[-1] if above else "", match[1], match[2]))
    return tuple(found)


def code(page: Path) -> str:
    """Everything on a page that is set as code: the blocks, and the spans between them."""
    spans = _SPAN.findall(without_blocks(read(page)))
    return "\n".join([*(block.text for block in blocks(page)), *spans])


def slug(heading: str) -> str:
    """The anchor that a heading gets on the usual hosts."""
    kept = re.sub(r"[^\w\- ]", "", heading.lower())
    return kept.strip().replace(" ", "-")


def frontmatter(page: Path) -> tuple[str, str]:
    """The YAML between the first two ``---`` lines, and the body after them."""
    _, matter, body = re.split(r"^---$\n", read(page), maxsplit=2, flags=re.MULTILINE)
    return matter, body
