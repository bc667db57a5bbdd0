"""prefect: runs the flow of a file on a temporary server."""

import asyncio
import os
import runpy
from typing import Any

from prefect.settings import PREFECT_SERVER_ANALYTICS_ENABLED, temporary_settings
from says import answer  # type: ignore[import-not-found]  # it lies beside this file

EXAMPLE = runpy.run_path(os.environ["EXAMPLE"])
FLOW, TASK = EXAMPLE["nightly_reviews"], EXAMPLE["answers"]


def call(wait: float) -> dict[str, Any]:
    TASK.fn.__globals__["WAIT"] = wait
    TASK.retry_delay_seconds = 0
    state = asyncio.run(FLOW(return_state=True))
    return {"name": state.name, "type": state.type.value, "message": state.message}


with temporary_settings({PREFECT_SERVER_ANALYTICS_ENABLED: False}):
    answer(call)
