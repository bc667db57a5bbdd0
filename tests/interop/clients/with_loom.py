"""loom: a file of three prompts by its two commands, run and fetch (inline, SDK)."""

import json
import subprocess
import sys
from pathlib import Path

rows = json.load(sys.stdin)
loom = str(Path(sys.executable).with_name("loom"))
Path("prompts.json").write_text(json.dumps([{"id": row["key"], "prompt": row["text"]} for row in rows]))
words = ["run", "--file", "prompts.json", "--provider", "google", "--model", "gemini-3.8-flash"]
subprocess.run([loom, *words], check=True, stdout=sys.stderr)
fetches = 0
while not (found := list(Path().glob("prompts_results_*.json"))):
    fetches += 1
    assert fetches < 60, "it never fetched the results"
    subprocess.run([loom, "fetch"], check=True, stdout=sys.stderr)
json.dump({row["id"]: row["llm_response"] for row in json.loads(found[0].read_text())}, sys.stdout)
