"""Google's clients and their versions: what is installed, and how; the page names the same."""

from __future__ import annotations

import importlib.metadata
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from conformance import environments

if TYPE_CHECKING:
    from _pytest.mark import ParameterSet

PYTHON_PACKAGE = "google-genai"
JAVASCRIPT_PACKAGE = "@google/genai"

#: The newest version is the one among the development tools, which `constraints.txt` pins.
NEWEST_PYTHON = importlib.metadata.version(PYTHON_PACKAGE)
#: Older ones, from the first with batches to the last that calls v1beta, each with what it needs in other versions than
#: `constraints.txt` has.
OLDER_PYTHON = {
    "1.24.0": ("tenacity==8.5.0", "websockets==15.0.1"),
    "1.34.0": ("tenacity==9.1.2", "websockets==15.0.1"),
    "2.34.0": (),
}
NEWEST_JAVASCRIPT = "3.3.0"
OLDER_JAVASCRIPT = ("1.16.0", "1.50.1", "2.0.0")


@dataclass(frozen=True, slots=True)
class Client:
    """One version of one client."""

    package: str
    version: str

    @property
    def newest(self) -> bool:
        return self.version in (NEWEST_PYTHON, NEWEST_JAVASCRIPT)

    def python(self, *requirements: str) -> Path:
        """An interpreter with this version, and at least ``requirements``.

        An older version has a home of its own. The newest is among the development tools, and so is all that may be
        required with it.
        """
        if self.newest:
            return Path(sys.executable)
        name = f"{PYTHON_PACKAGE}-{self.version}" + ("-and-more" if requirements else "")
        sdk = f"{PYTHON_PACKAGE}[aiohttp]=={self.version}"
        return environments.python(name, sdk, *OLDER_PYTHON[self.version], *requirements)

    def node(self) -> Path:
        """A folder with this version of the npm package."""
        return environments.node(f"{PYTHON_PACKAGE}-js-{self.version}", f"{self.package}@{self.version}")


PYTHON = tuple(Client(PYTHON_PACKAGE, version) for version in (*OLDER_PYTHON, NEWEST_PYTHON))
JAVASCRIPT = tuple(Client(JAVASCRIPT_PACKAGE, version) for version in (*OLDER_JAVASCRIPT, NEWEST_JAVASCRIPT))


def parameter(client: Client, *values: str, fast: bool = False) -> ParameterSet:
    """The client and ``values`` as parameters of a test; the markers say which make targets run it."""
    marks = [pytest.mark.js if client in JAVASCRIPT else pytest.mark.conformance]
    if fast:
        marks.append(pytest.mark.fast)
    return pytest.param(client, *values, marks=marks, id="-".join((client.package, client.version, *values)))
