"""inspect_ai: an evaluation of three samples whose model calls go through a batch (file, async SDK)."""

import json
import sys

from inspect_ai import Task  # type: ignore[import-not-found]
from inspect_ai import eval as evaluate
from inspect_ai.dataset import Sample  # type: ignore[import-not-found]
from inspect_ai.model import BatchConfig  # type: ignore[import-not-found]
from inspect_ai.solver import generate  # type: ignore[import-not-found]

rows = json.load(sys.stdin)
samples = [Sample(id=row["key"], input=row["text"]) for row in rows]
(log,) = evaluate(
    Task(dataset=samples, solver=generate()),
    model="google/gemini-3.8-flash",
    batch=BatchConfig(size=len(rows), send_delay=1, tick=0.2),
    display="none",
    log_dir="logs",
)
assert log.status == "success", log.error
json.dump({sample.id: sample.output.completion for sample in log.samples}, sys.stdout)
