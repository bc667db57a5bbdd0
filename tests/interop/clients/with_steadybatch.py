"""steadybatch: three requests with a schema, checked off in a database of its own (file, SDK)."""

import json
import sys

from steadybatch import Request, Runner  # type: ignore[import-not-found]
from steadybatch.providers.gemini_batch import GeminiBatch  # type: ignore[import-not-found]

rows = json.load(sys.stdin)
schema = {
    "type": "object",
    "properties": {"mood": {"type": "string", "enum": ["glad", "sad"]}},
    "required": ["mood"],
    "additionalProperties": False,
}
requests = [Request(key=row["key"], messages=[{"role": "user", "content": row["text"]}]) for row in rows]
runner = Runner(GeminiBatch(), "gemini-3.8-flash", response_schema=schema, checkpoint="job.sqlite", poll_every=0.5)
report = runner.run(requests)
assert report.failed == 0, report
json.dump({one.key: one.data["mood"] for one in report.results}, sys.stdout)
