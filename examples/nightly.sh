#!/bin/sh
# A night's batch from cron. Call it as often as you like, every hour say; the first call begins a day's run, each later
# one goes on with it wherever it stopped (a reboot, a lost network, a full queue), and when all is done it does nothing:
#
#   0 * * * *  /srv/gemini-batch/examples/nightly.sh /srv/reviews >> /srv/reviews/nightly.log 2>&1
#
# In that folder your own export puts requests-2026-11-22.jsonl (renamed into place when it is complete), and a .env
# file holds GEMINI_API_KEY. Afterwards results-2026-11-22.jsonl is there, whole or not at all, and
# results-2026-11-22.failures.jsonl if some requests have no good answer. A job may take longer than a day: every day
# that is not done is looked after, the oldest first.
set -u
PATH="$PATH:$(cd "$(dirname "$0")/.." && pwd)/.venv/bin" # cron's own is short; `make setup` puts gemini-batch there
cd "${1:?the folder of requests}" || exit 3

say() { echo "$(date -u +%FT%TZ) $day: $*"; }
call_somebody() { say "$*" >&2; } # your mail or pager here

# A day is done if its file says so: a line for every request. An exit code alone can come from anything that fails.
requests_in() { grep -c '[^[:space:]]' "$1" 2> /dev/null; }
finish_day() {
    if [ "$(requests_in "results-$day.jsonl")" != "$(requests_in "requests-$day.jsonl")" ]; then
        say "ended with $code, but results-$day.jsonl is not complete; the next call goes on"
        code=3
        return
    fi
    touch "results-$day.done"
    if [ -e "results-$day.failures.jsonl" ]; then
        call_somebody "some requests have no good answer: results-$day.failures.jsonl"
    else
        say "all answered"
    fi
}

one_day() {
    code=0
    gemini-batch run "requests-$day.jsonl" --name "reviews-$day" --output "results-$day.jsonl" || code=$?
    case $code in
        0 | 1) finish_day ;;
        2) call_somebody "the requests or the key cannot be used, and nothing was sent: see above" ;;
        5) call_somebody "nothing could be had: see above" ;;
        *) say "ended with $code; the next call goes on" ;; # 3 this machine, 4 service or network, 130 and 143 stopped
    esac
    return "$code"
}

worst=0
for requests in requests-*.jsonl; do
    [ -e "$requests" ] || continue
    day=${requests#requests-} day=${day%.jsonl}
    [ -e "results-$day.done" ] && continue
    (
        # A call of some hours ago may still be at work on this day: it needs no help.
        if command -v flock > /dev/null; then exec 9> "requests-$day.lock" && flock -n 9 || exit 0; fi
        one_day
    ) || worst=$?
done
exit "$worst"
