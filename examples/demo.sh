#!/bin/sh
# The main job from end to end, offline: no key, no network, no cost. Everything it writes is in demo-work/.
set -eu
cd "$(dirname "$0")/.."
python=$(command -v python3 || command -v python)
rm -rf demo-work && mkdir demo-work
GEMINI_BATCH_HOME="$PWD/demo-work/home" GEMINI_BATCH_OFFLINE=1
export GEMINI_BATCH_HOME GEMINI_BATCH_OFFLINE

python() { "$python" "$@"; }
say() { printf '\n$ %s\n' "$*"; }

cat > demo-work/reviews.csv <<'END'
id,review
101,"Bright, light, lasts all night."
102,
103,Broke on the second day.
END
cat > demo-work/review.json <<'END'
{"type": "object", "properties": {"sentiment": {"enum": ["positive", "negative"]}, "complaint": {"type": "boolean"}}}
END
cat > demo-work/requests.jsonl <<'END'
{"key": "sky", "request": {"contents": [{"parts": [{"text": "Why is the sky blue?"}]}]}}
{"key": "moons", "request": {"contents": [{"parts": [{"text": "Name three moons of Jupiter."}]}]}}
{"key": "story", "request": {"contents": [{"parts": [{"text": "Tell me a long story."}]}], "generationConfig": {"maxOutputTokens": 20}}}
END
cat > demo-work/show.py <<'END'
import json

with open("demo-work/results.jsonl", encoding="utf-8") as file:
    for row in map(json.loads, file):
        print(row["key"], "->", row["error"]["message"] if "error" in row else row["response"]["text"])
END

say 'cat demo-work/reviews.csv demo-work/review.json'
cat demo-work/reviews.csv demo-work/review.json

say 'python scripts/run_batch.py demo-work/reviews.csv --prompt "Classify: {{ review }}" --schema demo-work/review.json -o demo-work/answers.csv; echo "exit code $?"'
code=0
python scripts/run_batch.py demo-work/reviews.csv --prompt "Classify: {{ review }}" --schema demo-work/review.json -o demo-work/answers.csv || code=$?
echo "exit code $code"

say 'cat demo-work/answers.csv'
cat demo-work/answers.csv

say 'cat demo-work/requests.jsonl'
cat demo-work/requests.jsonl

say 'JOB=$(python scripts/create_batch.py demo-work/requests.jsonl --name first-try)'
JOB=$(python scripts/create_batch.py demo-work/requests.jsonl --name first-try)

say 'python scripts/check_status.py $JOB --wait'
python scripts/check_status.py "$JOB" --wait

say 'python scripts/get_results.py $JOB --output demo-work/results.jsonl; echo "exit code $?"'
code=0
python scripts/get_results.py "$JOB" --output demo-work/results.jsonl || code=$?
echo "exit code $code"

say 'python demo-work/show.py'
python demo-work/show.py

say 'python scripts/create_batch.py demo-work/requests.jsonl'
python scripts/create_batch.py demo-work/requests.jsonl
