"""The scenarios of what only Vertex AI and Cloud Storage have: other states, output in files of a bucket."""

from __future__ import annotations

from gemini_batch.emulator.faults.model import JobFault, OutputFault
from gemini_batch.emulator.faults.scenario import Scenario, one, wire

VERTEX: dict[str, Scenario] = {
    "V1": one(
        "Vertex AI: the results are in several files, next to an earlier copy of some, and one appears twice.",
        OutputFault(output="split", rows=2),
        OutputFault(output="duplicate"),
    ),
    "V2": one(
        "Vertex AI: a cancelled job shows CANCELLING for two polls.",
        wire(
            "batches.get",
            state="CANCELLED",
            times=2,
            set={"state": "JOB_STATE_CANCELLING"},
            remove=["endTime", "error", "outputInfo"],
        ),
    ),
    "V3": one(
        "Vertex AI: a job ends PARTIALLY_SUCCEEDED after its first row, which can be downloaded.",
        JobFault(job="PARTIALLY_SUCCEEDED", rows=1, keep=True),
    ),
    "V4": one(
        "Vertex AI: three polls of a job show PAUSED, UPDATING and an unknown state.",
        *(
            wire("batches.get", set={"state": f"JOB_STATE_{state}"}, remove=["endTime", "outputInfo"])
            for state in ("PAUSED", "UPDATING", "SOMETHING_NEW")
        ),
    ),
    "V5": one(
        "Vertex AI: a job has succeeded, but does not say for two polls where its results are.",
        wire("batches.get", state="SUCCEEDED", times=2, remove=["outputInfo"]),
    ),
    "V6": one(
        "Cloud Storage refuses an upload, then a list and a download, each once with 503.",
        wire("storage.objects.insert|storage.uploads.*", error="overloaded"),
        wire("storage.objects.list", error="overloaded"),
        wire("storage.objects.download", error="overloaded"),
    ),
    "V7": one(
        "Vertex AI: creating a job is refused once with 429, which does not say when to retry.",
        wire("batches.create", error="vertex_quota"),
    ),
}
