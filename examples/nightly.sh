#!/bin/sh
# A nightly batch from cron. Call it as often as you like, for example every hour. The first call of a day begins a run;
# each later call continues it, whatever stopped it (a reboot, a lost network, a full queue). Once everything is done, it
# does nothing:
#
#   0 * * * *  /srv/gemini-batch/examples/nightly.sh /srv/reviews >> /srv/reviews/nightly.log 2>&1
#
# Your own export writes requests-2026-11-22.jsonl to that folder (renamed into place when it is complete), and a .env
# file there holds GEMINI_API_KEY. Afterwards the folder has results-2026-11-22.jsonl, always complete, and
# results-2026-11-22.failures.jsonl if some requests did not succeed. A job may take longer than a day: every unfinished
# day is continued, the oldest first.
set -u
PATH="$PATH:$(cd "$(dirname "$0")/.." && pwd)/.venv/bin" # cron's PATH is short; `make setup` installs gemini-batch there
cd "${1:?the folder of requests}" || exit 3

say() { echo "$(date -u +%FT%TZ) $day: $*"; }
alert() { say "$*" >&2; } # replace this with your mail or pager

# A day is done if its file says so: a line for every request. An exit code alone can come from anything that fails.
requests_in() { grep -c '[^[:space:]]' "$1" 2> /dev/null; }
finish_day() {
    if [ "$(requests_in "results-$day.jsonl")" != "$(requests_in "requests-$day.jsonl")" ]; then
        say "ended with $code, but results-$day.jsonl is not complete; the next call continues"
        code=3
        return
    fi
    touch "results-$day.done"
    if [ -e "results-$day.failures.jsonl" ]; then
        alert "some requests did not succeed: results-$day.failures.jsonl"
    else
        say "all requests succeeded"
    fi
}

one_day() {
    code=0
    gemini-batch run "requests-$day.jsonl" --name "reviews-$day" --output "results-$day.jsonl" || code=$?
    case $code in
        0 | 1) finish_day ;;
        2) alert "the requests or the key cannot be used, and nothing was sent: see above" ;;
        5) alert "there are no answers: see above" ;;
        6) alert "waits for your decision: see above" ;; # without --timeout, run ends with 6 only where it asks you
        *) # 3 this machine, 4 service or network, 130 and 143 stopped
            if [ -n "$(find "requests-$day.jsonl" -mtime +2)" ]; then
                alert "ended with $code and has not finished for three days: see above"
            else
                say "ended with $code; the next call continues"
            fi
            ;;
    esac
    return "$code"
}

# The script ends with the code that needs you most: 2 before 5, 6, 3, 4, 1.
rank() { case $1 in 0) echo 0 ;; 1) echo 1 ;; 4) echo 2 ;; 3) echo 3 ;; 6) echo 4 ;; 5) echo 5 ;; *) echo 6 ;; esac; }
worst=0
for requests in requests-*.jsonl; do
    [ -e "$requests" ] || continue
    day=${requests#requests-} day=${day%.jsonl}
    [ -e "results-$day.done" ] && continue
    (
        # An earlier call may still be working on this day: leave it alone.
        if command -v flock > /dev/null; then exec 9> "requests-$day.lock" && flock -n 9 || exit 0; fi
        one_day
    )
    code=$?
    if [ "$(rank "$code")" -gt "$(rank "$worst")" ]; then worst=$code; fi
done
exit "$worst"
