"""Lines that validation passes, sent as whole jobs: every row is answered, unless its file or cache is not there."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from gemini_batch import jsonl
from gemini_batch.validation.conform import Terms
from gemini_batch.validation.validate import Checked, check_line
from protocol.made_lines import MODELS, Maker

if TYPE_CHECKING:
    from emulator.conftest import Api

LINES = 400


def test_every_row_that_validation_passes_is_answered(world: Api) -> None:
    """For each model, in one job."""
    maker = Maker(random.Random("jobs"))
    rows: dict[tuple[str, str], list[bytes]] = {}
    for number in range(LINES):
        data, model = maker.line()
        found = check_line(data, 1, Terms(model))
        if isinstance(found, Checked) and model:
            line = jsonl.encode({**jsonl.decode(data), "key": str(number)})
            rows.setdefault((model, found.method), []).append(line)
    assert {model for model, _ in rows} == {model for models in MODELS.values() for model in models} - {""}
    for (model, method), lines in rows.items():
        verb = "batchGenerateContent" if method == "generate" else "asyncBatchEmbedContent"
        body = {"batch": {"inputConfig": {"fileName": world.upload(b"\n".join(lines))}}}
        made = world.http.post(f"/v1beta/models/{model}:{verb}", json=body)
        assert made.status_code == 200, made.text
        errors = [one["error"]["message"] for one in world.results(made.json()["name"]) if "error" in one]
        assert set(errors) <= {
            "The file files/abc does not exist, or has expired.",
            "CachedContent not found (or permission denied)",
        }
