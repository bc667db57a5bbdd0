#!/bin/sh
# The main job from end to end, offline: no key, no network, no cost. Works in a folder of its own.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
work="$here/demo-work"
rm -rf "$work" && mkdir -p "$work" && cd "$work"
export GEMINI_BATCH_HOME="$work/home" GEMINI_BATCH_OFFLINE=1
say() { printf '\n$ %s\n' "$*"; }

say "cat requests.jsonl"
echo '{"key": "req1", "request": {"contents": [{"parts": [{"text": "Explain photosynthesis in one sentence."}]}]}}' > requests.jsonl
echo '{"key": "req2", "request": {"contents": [{"parts": [{"text": "Why is the sky blue?"}]}]}}' >> requests.jsonl
cat requests.jsonl

say 'JOB=$(python3 scripts/create_batch.py requests.jsonl --name "science-questions")'
JOB=$(python3 "$here/scripts/create_batch.py" requests.jsonl --name "science-questions")
echo "JOB=$JOB"

say 'python3 scripts/check_status.py $JOB --wait'
python3 "$here/scripts/check_status.py" "$JOB" --wait

say 'python3 scripts/get_results.py $JOB --output results.jsonl'
python3 "$here/scripts/get_results.py" "$JOB" --output results.jsonl

say "cat results.jsonl"
cat results.jsonl
printf '\nEverything above is in %s\n' "$work"
