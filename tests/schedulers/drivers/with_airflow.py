"""airflow: runs the Dag of a file with a database, the task runner and the trigger, as `dag.test()` does."""

import os
from datetime import datetime, timedelta
from typing import Any

from airflow.dag_processing.dagbag import DagBag
from says import answer  # type: ignore[import-not-found]  # it lies beside this file

(DAG,) = DagBag(os.environ["AIRFLOW__CORE__DAGS_FOLDER"]).dags.values()
DAY = datetime.fromisoformat(os.environ["DAY"] + "T00:00:00+00:00")


def call(wait: float) -> dict[str, Any]:
    for task in DAG.tasks:
        if hasattr(task, "poll_interval"):  # of the operator of batches: no less than 30, and nobody here waits so long
            task.poll_interval = 0.2
        if hasattr(task, "poke_interval"):  # of a sensor
            task.poke_interval = 0.2
            task.python_callable.__globals__["WAIT"] = wait
        task.retry_delay = timedelta(0)
    run = DAG.test(logical_date=DAY, run_after=DAY)
    tasks = {one.task_id: one for one in run.get_task_instances()}
    first = tasks[DAG.topological_sort()[0].task_id]
    return {
        "state": run.state,
        "tasks": {name: one.state for name, one in tasks.items()},
        "tries": first.try_number,
        "said": first.xcom_pull(task_ids=first.task_id),
    }


answer(call)
