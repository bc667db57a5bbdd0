"""Guards of limits of money: what counts, when it is checked, and what a request costs at most."""

from __future__ import annotations

from mutation.breakage import Breakage

BOUNDS = "tests/money/test_row_bounds.py"
PRICES = "tests/money/test_limits.py"
RUNS = "tests/engine/test_budget.py"
EDGES = "tests/engine/test_limit_edges.py"
ESTIMATES = "tests/money/test_estimates.py"
AMOUNTS = "tests/cli/test_estimated_amounts.py"

LIMITS = (
    Breakage(
        guard="what a job may cost is checked in the transaction that records its intent",
        file="engine/creating/budget.py",
        old="                if one.nano + (nano or 0) > one.cap:\n",
        new="                if False:\n",
        tests=(f"{RUNS}::test_what_is_planned_is_checked_again_before_it_is_sent",),
    ),
    Breakage(
        guard="a job is compared with the limit of the day that it counts for",
        file="engine/creating/budget.py",
        old="            for one in self._spent(db, job.id, at):\n",
        new="            for one in self._spent(db, job.id, self._now()):\n",
        tests=(f"{EDGES}::test_midnight_while_the_ledger_is_waited_for",),
    ),
    Breakage(
        guard="a create in doubt counts",
        file="engine/creating/budget.py",
        old="jobs.stage IN ('intended', 'created', 'ended', 'collected')",
        new="jobs.stage IN ('created', 'ended', 'collected')",
        tests=(f"{EDGES}::test_a_job_counts_from_its_intent_until_it_is_collected",),
    ),
    Breakage(
        guard="what other processes have recorded since a job was planned counts",
        file="engine/creating/intent.py",
        old="                reserve(db)\n",
        new="",
        tests=(f"{RUNS}::test_what_others_reserve_during_an_upload_counts",),
    ),
    Breakage(
        guard="what is alive counts with what it costs at most",
        file="engine/creating/budget.py",
        old="sum(coalesce(jobs.settled, jobs.bound))",
        new="sum(coalesce(jobs.settled, 0))",
        tests=(f"{EDGES}::test_a_job_counts_from_its_intent_until_it_is_collected",),
    ),
    Breakage(
        guard="a request without an answer counts with what it costs at most",
        file="engine/settling.py",
        old="_sum(nano(cost.priced), without_usage, doubtful), possible)",
        new="_sum(nano(cost.priced), doubtful), possible)",
        tests=(f"{RUNS}::test_what_got_no_answer_counts_with_its_most",),
    ),
    Breakage(
        guard="what a request without an answer may have cost is said",
        file="engine/settling.py",
        old="    possible = _sum(unanswered, doubtful)\n",
        new="    possible = 0\n",
        tests=(f"{RUNS}::test_what_got_no_answer_counts_with_its_most",),
    ),
    Breakage(
        guard="a job counts with the limit of answers that it was sent with",
        file="engine/creating/planner.py",
        old="        answer_limit=overrides.max_output_tokens if overrides is not None else None,\n",
        new="",
        tests=(f"{RUNS}::test_longer_answers_count_with_what_their_job_allows",),
    ),
    Breakage(
        guard="requests that nothing bounds are no cost of nothing for other runs",
        file="engine/creating/budget.py",
        old="jobs.settled IS NULL AND jobs.unbounded IS NOT 0), 0)",
        new="jobs.settled IS NULL AND jobs.bound IS NULL), 0)",
        tests=(f"{RUNS}::test_what_an_allowed_request_costs_is_not_known_to_others",),
    ),
    Breakage(
        guard="requests that nothing bounds are refused",
        file="engine/creating/budget.py",
        old="        if (most is None or most.unknown) and not self.caps.unknown:\n",
        new="        if False:\n",
        tests=(f"{RUNS}::test_what_was_allowed_is_refused_when_it_no_longer_is",),
    ),
    Breakage(
        guard="jobs of an earlier version count",
        file="engine/creating/budget.py",
        old="    count_earlier(session, budget.uncounted())\n",
        new="",
        tests=(f"{RUNS}::test_jobs_of_an_earlier_version_count",),
    ),
    Breakage(
        guard="money that is spent at another address is money, too",
        file="engine/creating/budget.py",
        old="""(runs.backend = '{OFFLINE}') = ? AND""",
        new="""(runs.backend = 'https://fake.invalid') <> ? AND""",
        tests=(f"{RUNS}::test_a_day_is_that_of_utc_and_of_all_addresses",),
    ),
    Breakage(
        guard="a retry that would cost too much changes nothing",
        file="store/rows/rows.py",
        old="            if check is not None:\n                check()\n",
        new="",
        tests=(f"{RUNS}::test_a_retry_that_costs_too_much_leaves_the_run_as_it_was",),
    ),
    Breakage(
        guard="a retry keeps the limit of its run",
        file="commands/retry.py",
        old="RunOptions().capped(max_usd).over(msgspec.structs.replace(kept, overrides=overrides))",
        new="msgspec.structs.replace(kept, overrides=overrides).capped(max_usd)",
        tests=(f"{RUNS}::test_a_retry_keeps_the_limit_of_the_run",),
    ),
    Breakage(
        guard="maxOutputTokens of 0 bounds nothing",
        file="money/row_bounds.py",
        old="if count is not None and count > 0]",
        new="if count is not None]",
        tests=(f"{BOUNDS}::test_the_limit_of_an_answer",),
    ),
    Breakage(
        guard="names are found however they are written",
        file="money/row_bounds.py",
        old="        data = msgspec.json.encode(msgspec.json.decode(data))\n",
        new="        pass\n",
        tests=(f"{BOUNDS}::test_tools_that_cost_more_than_tokens",),
    ),
    Breakage(
        guard="several answers to one request bound nothing",
        file="money/row_bounds.py",
        old=" or any(_count(value) not in {0, 1} for value in answers)",
        new="",
        tests=(f"{BOUNDS}::test_nothing_bounds_several_answers",),
    ),
    Breakage(
        guard="a price that begins soon may apply",
        file="money/limits.py",
        old="    last = first + _SOON\n",
        new="    last = first\n",
        tests=(f"{PRICES}::test_the_highest_price_that_can_apply",),
    ),
    Breakage(
        guard="what is expected counts although nothing bounds it",
        file="engine/creating/budget.py",
        old="        if most is None or (most.unknown and expected is None):\n",
        new="        if most is None or most.unknown:\n",
        tests=(f"{AMOUNTS}::test_searches_that_are_expected_count_before_they_are_sent",),
    ),
    Breakage(
        guard="a command that was refused for its cost is refused again",
        file="commands/run.py",
        old="            choose(session, run, again)\n",
        new="",
        tests=(f"{AMOUNTS}::test_searches_that_are_expected_count_before_they_are_sent",),
    ),
    Breakage(
        guard="no estimate says at most what is not bounded",
        file="commands/estimate.py",
        old="high=worst if cost.expected is None else _float(cost.high),",
        new="high=_float(cost.high),",
        tests=(f"{AMOUNTS}::test_an_estimate_holds_what_is_then_paid",),
    ),
    Breakage(
        guard="searches are part of an expected cost",
        file="money/estimates.py",
        old="    charge = _rate(used, price, FEES, None, answered)\n",
        new="    charge = _rate([], price, FEES, None, 0)\n",
        tests=(f"{ESTIMATES}::test_searches_are_as_frequent_as_before",),
    ),
    Breakage(
        guard="tokens of answers cost what their kind costs",
        file="money/estimates.py",
        old="    answer = _rate(used, price, ANSWER_KINDS, Kind.OUTPUT, sum(",
        new="    answer = _rate([], price, ANSWER_KINDS, Kind.OUTPUT, 0 * sum(",
        tests=(f"{ESTIMATES}::test_the_kinds_of_earlier_tokens_give_the_rates",),
    ),
)
