"""What validation passes, the emulator accepts; what the emulator refuses as a request, validation refused.

Refusals because of the emulator's state (files, caches, quotas) do not count. No line makes either of them fail.
"""

from __future__ import annotations

import io
import os
import random
from typing import TYPE_CHECKING, cast

import pytest

from gemini_batch.catalog import Method
from gemini_batch.emulator.engine import lines
from gemini_batch.emulator.responders.builtin import respond
from gemini_batch.emulator.state.attachments import Attachments
from gemini_batch.errors import RowError
from gemini_batch.validation.conform import Terms
from gemini_batch.validation.validate import Checked, check_line
from protocol.made_lines import Maker

if TYPE_CHECKING:
    from gemini_batch.emulator.state.files import Files
    from gemini_batch.emulator.state.models import Kind

#: More lines: ``DIFFERENTIAL_LINES=2000``.
COUNT = int(os.environ.get("DIFFERENTIAL_LINES", "300"))


class EveryFile:
    """Files of which none is missing."""

    rehearsal = False

    def find(self, file_id: str, owner: str) -> dict[str, str]:
        return {"id": file_id, "owner": owner}

    def is_registered(self, uri: str, owner: str) -> bool:
        del uri, owner
        return True


#: Addresses are judged, whether a file is there is not.
ATTACHMENTS = Attachments(cast("Files", EveryFile()), "")


def refusal(data: bytes, method: Method, model: str, *, lenient: bool = False) -> str | None:
    """How the emulator refuses a line, when the job is created or when its row is processed; None if it answers."""
    kind: Kind = "embed" if method is Method.EMBED else "generate"
    checked = lines.check(kind, io.BytesIO(data), model=model, lenient=lenient)
    if checked.problems:
        return checked.problems[0]
    try:
        row = lines.read(kind, data, plain=checked.plain, tag="key", lenient=lenient)
        if not checked.plain:
            lines.refusing(lambda _, request: request, kind, lenient=lenient)(model, row.request)
        ATTACHMENTS.check(row.request)
        respond(model or "gemini-3.8-flash", row.request)
    except RowError as error:
        return f"{error.code}: {error.message}"
    return None


def method_of(data: bytes) -> Method:
    """The method of a line that may be wrong: the one that its contents ask for."""
    found = check_line(data, 1)
    if isinstance(found, Checked):
        return found.method
    return Method.EMBED if b'"content":' in data and b'"contents":' not in data else Method.GENERATE


@pytest.mark.parametrize("lenient", [False, True], ids=["strict", "lenient"])
@pytest.mark.parametrize("seed", range(3))
def test_what_validation_passes_the_emulator_accepts(seed: int, *, lenient: bool) -> None:
    """Of valid lines and of spoiled ones, for each model; both kinds are there."""
    maker = Maker(random.Random(f"{seed} lines"))
    passed = refused = 0
    for _ in range(COUNT // 3):
        data, model = maker.line()
        found = check_line(data, 1, Terms(model, lenient))
        said = refusal(data, method_of(data), model, lenient=lenient)
        if isinstance(found, Checked):
            passed += 1
            assert said is None, (said, model, data)
        else:
            refused += said is not None
            assert all(problem.message and problem.next for problem in found)
    assert passed > COUNT // 3 * 0.15
    assert refused > COUNT // 3 * 0.15
