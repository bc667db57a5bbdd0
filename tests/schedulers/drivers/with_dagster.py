"""dagster: lets the sensor of a file say which partitions to make, and makes them."""

import os
import runpy
from typing import Any

import dagster as dg
from says import answer  # type: ignore[import-not-found]  # it lies beside this file

EXAMPLE = runpy.run_path(os.environ["EXAMPLE"])
ASSET, SENSOR = EXAMPLE["reviews"], EXAMPLE["unfinished_days"]


def call(wait: float) -> dict[str, Any]:
    ASSET.op.compute_fn.decorated_fn.__globals__["WAIT"] = wait
    said: dict[str, Any] = {"asked": [], "states": [], "metadata": []}
    with dg.DagsterInstance.get() as instance:
        everything = EXAMPLE["defs"].get_repository_def()
        with dg.build_sensor_context(instance=instance, repository_def=everything) as context:
            asked = SENSOR.evaluate_tick(context).run_requests
        for one in asked:
            done = dg.materialize([ASSET], partition_key=one.partition_key, instance=instance, raise_on_error=False)
            said["asked"].append(one.partition_key)
            said["states"].append("success" if done.success else "failed")
            made = [event.materialization.metadata for event in done.get_asset_materialization_events()]
            said["metadata"] += [{name: value.value for name, value in one.items()} for one in made]
            said["retries"] = sum(event.is_step_up_for_retry for event in done.all_events)
    return said


answer(call)
