"""The page on other people's programs names the versions that are really run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from interop import test_installers, test_interactive
from interop.test_clients import CLIENTS
from interop.test_openai_servers import SERVERS

PAGE = (Path(__file__).parents[2] / "docs" / "interop.md").read_text(encoding="utf-8")


def table(heading: str) -> dict[str, str]:
    """Program and version, by the first two cells of the rows under a heading."""
    _, _, text = PAGE.partition(f"\n## {heading}\n")
    rows = re.findall(r"^\| ([^|]+) \| ([^|]+) \|", text.partition("\n## ")[0], re.MULTILINE)
    return {name: version for name, version in rows if name not in ("client", "program", "server", "---")}


@pytest.mark.parametrize(("heading", "with_jobs"), [("Clients", True), ("Programs without batches", False)])
def test_the_clients_and_their_versions(heading: str, *, with_jobs: bool) -> None:
    run = dict(client.requirements[0].split("==") for client in CLIENTS if bool(client.jobs) == with_jobs)
    assert table(heading) == {name.partition("[")[0]: version for name, version in run.items()}


def test_the_servers_and_their_versions() -> None:
    assert table("OpenAI-compatible servers") == dict(one.split("==") for one in SERVERS)


def test_the_interactive_clients_and_their_versions() -> None:
    run = dict(one.rsplit("@", 1) for one in test_interactive.CLIENTS)
    assert table("Interactive calls") == run


def test_the_installers_and_their_versions() -> None:
    """On the page about the skill; a row without a version was not run."""
    page = (Path(__file__).parents[2] / "docs" / "install-skill.md").read_text(encoding="utf-8")
    told = dict(re.findall(r"^\| (\S+) \| (\d[\d.]+) \|", page, re.MULTILINE))
    assert told == {**test_installers.PYTHON_TOOLS, **test_installers.NODE_TOOLS}
