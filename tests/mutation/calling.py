"""Guards of requests that are sent as calls: what is written when, what is sent again, what is counted, what stops."""

from __future__ import annotations

from mutation.breakage import Breakage

RUNS = "tests/engine/calling/test_flex_runs.py"
CALLER = "tests/engine/calling/test_caller.py"
STOPPED = "tests/engine/calling/test_stopped_calls.py"
OTHERS = "tests/engine/calling/test_other_processes.py"
JOURNAL = "tests/engine/calling/test_journal.py"
WAYS = "tests/crashes/test_flex_matrix.py::test_what_happens_to_one_call"

CALLING = (
    Breakage(
        guard="a call is recorded before it goes out",
        file="engine/calling/caller.py",
        old="self._write, news, [one.number for one in going]))",
        new="self._write, news, []))",
        tests=(f"{RUNS}::test_death_at_every_call_of_the_service",),
    ),
    Breakage(
        guard="answers of calls are on disk when the next ones go out",
        file="engine/calling/journal.py",
        old="            _flush(self._answers)\n",
        new="",
        tests=(f"{JOURNAL}::test_all_is_on_disk_when_it_returns_and_answers_first",),
    ),
    Breakage(
        guard="half an answer on disk is none",
        file="engine/calling/flex_jobs.py",
        old="        cut_to_lines(raw)\n",
        new="",
        tests=(f"{RUNS}::test_half_an_answer_on_disk_is_one_that_did_not_come",),
    ),
    Breakage(
        guard="a job of calls whose process died is not sent by another one",
        file="engine/calling/flex_jobs.py",
        old="        if job.stage is JobStage.INTENDED:\n",
        new="        if False:\n",
        tests=(f"{RUNS}::test_death_at_every_call_of_the_service",),
    ),
    Breakage(
        guard="what was answered by a call is not sent again",
        file="engine/calling/job_requests.py",
        old="WHERE job = ?1 AND NOT {_GIVEN}",
        new="WHERE job = ?1",
        tests=(f"{RUNS}::test_a_call_that_breaks_is_repeated_once",),
    ),
    Breakage(
        guard="a call that breaks is repeated once",
        file="engine/calling/job_requests.py",
        old="seq in broken and attempts >= MOST_BROKEN",
        new="False",
        tests=(f"{RUNS}::test_a_call_that_breaks_twice_is_missing_and_not_sent_again",),
    ),
    Breakage(
        guard="a call without an answer is counted as one that may have been paid for",
        file="engine/calling/flex_jobs.py",
        old='        "doubtful": len(doubtful),\n',
        new='        "doubtful": 0,\n',
        tests=(f"{RUNS}::test_a_call_that_breaks_is_repeated_once",),
    ),
    Breakage(
        guard="a refused call is not in doubt",
        file="engine/calling/journal.py",
        old="            sent.discard(number)\n",
        new="            pass\n",
        tests=(f"{JOURNAL}::test_what_was_refused_and_sent_again_is_in_doubt",),
    ),
    Breakage(
        guard="an error of a server on the way proves nothing of a call",
        file="engine/calling/outcomes.py",
        old="End.ANSWER if own_failure(error) else End.BROKEN",
        new="End.ANSWER if own_failure(error) else End.REFUSED",
        tests=(f"{RUNS}::test_a_call_that_breaks_is_repeated_once", WAYS),
    ),
    Breakage(
        guard="an answer that is not JSON is none",
        file="engine/calling/caller.py",
        old="            elif is_json(got.body):\n",
        new="            elif True:\n",
        tests=(WAYS,),
    ),
    Breakage(
        guard="a call is not repeated on the way",
        file="api/calls.py",
        old="        repeat=False,\n",
        new="        repeat=True,\n",
        tests=(WAYS,),
    ),
    Breakage(
        guard="calls that are served as standard stop the sending",
        file="engine/calling/caller.py",
        old='        if tier not in {"", FLEX} and not self._standard:\n',
        new="        if False:\n",
        tests=(f"{RUNS}::test_what_the_service_serves_as_standard_stops_the_sending",),
    ),
    Breakage(
        guard="calls that are served as standard cost what these do",
        file="engine/calling/outcomes.py",
        old='if called.tier not in {"", FLEX} else b""',
        new='if False else b""',
        tests=(f"{RUNS}::test_standard_calls_cost_what_interactive_ones_do",),
    ),
    Breakage(
        guard="a quota holds up calls as long as the service asks",
        file="engine/calling/pace.py",
        old="now + (what.asked if what.asked is not None else FIRST_PAUSE)",
        new="now + FIRST_PAUSE",
        tests=(f"{CALLER}::test_what_is_refused_waits_as_long_as_the_service_asks",),
    ),
    Breakage(
        guard="a call that is refused for load waits as long as the service asks",
        file="engine/calling/caller.py",
        old="                self._again(one, now, min(asked or 0.0, LONGEST_ASKED))\n",
        new="                self._again(one, now, 0.0)\n",
        tests=(f"{CALLER}::test_what_is_refused_waits_as_long_as_the_service_asks",),
    ),
    Breakage(
        guard="a quota of the day ends a run of calls",
        file="engine/calling/pace.py",
        old="self.gave_up or what.daily or now",
        new="self.gave_up or now",
        tests=(f"{RUNS}::test_a_quota_of_the_day_ends_a_run_of_calls",),
    ),
    Breakage(
        guard="no more calls are in flight than allowed",
        file="engine/calling/pace.py",
        old="return math.inf if self._flying >= self.allowed else max(",
        new="return max(",
        tests=(f"{CALLER}::test_each_request_is_answered_once",),
    ),
    Breakage(
        guard="what calls in flight come to is kept when a command is stopped",
        file="engine/calling/caller.py",
        old="        self._write(self._take(self._world.monotonic()), [])\n",
        new="",
        tests=(f"{CALLER}::test_a_command_that_is_stopped_keeps_what_comes_in_time",),
    ),
    Breakage(
        guard="calls that may be paid for twice count towards a limit",
        file="engine/calling/flex_jobs.py",
        old='        "doubtful_bound": bound,\n',
        new='        "doubtful_bound": 0,\n',
        tests=(f"{RUNS}::test_a_limit_of_money_makes_jobs_of_calls_that_fit",),
    ),
    Breakage(
        guard="calls that were written and never sent are not in doubt",
        file="engine/calling/caller.py",
        old="        news = _News(refused=self._unsent)\n",
        new="        news = _News()\n",
        tests=(f"{CALLER}::test_a_command_that_is_stopped_while_it_writes",),
    ),
    Breakage(
        guard="a second Ctrl-C does not close the journal while it is written",
        file="engine/calling/caller.py",
        old="    while not task.done():\n        try:\n            await asyncio.shield(task)\n",
        new="    for _ in range(1):\n        try:\n            await task\n",
        tests=(f"{CALLER}::test_a_command_that_is_stopped_while_it_writes",),
    ),
    Breakage(
        guard="a second Ctrl-C while calls are written ends at once",
        file="engine/calling/caller.py",
        old="if stopped is None or stopped.cancelling() < _AT_ONCE else 0.0",
        new="",
        tests=(f"{CALLER}::test_a_command_that_is_stopped_while_it_writes",),
    ),
    Breakage(
        guard="calls whose journal was deleted are in doubt",
        file="engine/calling/flex_jobs.py",
        old="        calls = Calls(frozenset(seq for seq, _ in requests_in(rows, job.ordinal)), frozenset())\n",
        new="        calls = Calls(frozenset(), frozenset())\n",
        tests=(f"{STOPPED}::test_calls_whose_records_were_deleted_are_in_doubt",),
    ),
    Breakage(
        guard="calls whose answers were deleted are in doubt",
        file="engine/calling/flex_jobs.py",
        old="nothing = not (there if calls is None else calls.sent or (there and raw.stat().st_size))",
        new="nothing = not (there and raw.stat().st_size)",
        tests=(f"{STOPPED}::test_calls_whose_records_were_deleted_are_in_doubt",),
    ),
    Breakage(
        guard="a request that is too large for a call is not sent as one",
        file="commands/run.py",
        old="            check_sizes(run, manner, rows)\n",
        new="            pass\n",
        tests=(f"{STOPPED}::test_a_request_that_is_too_large_for_a_call_is_refused_before_anything_is_sent",),
    ),
    Breakage(
        guard="a run of calls without a tier is not entered",
        file="commands/run.py",
        old="            check_manner(new, _manner(options))\n",
        new="            pass\n",
        tests=(f"{STOPPED}::test_calls_without_a_tier_are_refused_before_a_run_is_entered",),
    ),
    Breakage(
        guard="what the work says after a second Ctrl-C is heard",
        file="client.py",
        old="                _drain(inbox, heard)\n                raise\n",
        new="                raise\n",
        tests=("tests/face/test_clients.py::test_what_the_work_says_after_a_second_ctrl_c_is_heard",),
    ),
    Breakage(
        guard="progress counts the answers of calls while they are sent",
        file="engine/telling.py",
        old="stage=JobStage.CREATED, **counts)",
        new="**counts)",
        tests=(f"{STOPPED}::test_progress_counts_the_answers_and_says_why_calls_wait",),
    ),
    Breakage(
        guard="answers of calls that were damaged here are not paid for again without being asked",
        file="engine/collector.py",
        old='if job.via == "flex" and job.lost is None:',
        new='if job.via == "flex":',
        tests=(f"{OTHERS}::test_answers_of_calls_that_were_damaged_are_not_asked_of_the_service",),
    ),
    Breakage(
        guard="a job that was planned for another way is not sent in that way",
        file="commands/run.py",
        old='if manner.route not in {"auto", job.via} or',
        new="if",
        tests=(f"{OTHERS}::test_a_planned_job_does_not_outlive_its_way",),
    ),
    Breakage(
        guard="a planned job of calls reserves the price that is allowed now",
        file="commands/run.py",
        old=' or (job.via == "flex" and job.standard != manner.standard)',
        new="",
        tests=(f"{OTHERS}::test_a_planned_job_reserves_the_price_that_is_allowed_now",),
    ),
    Breakage(
        guard="an answer to a call that a batch would repair is one",
        file="engine/calling/outcomes.py",
        old="        if jsonl.repair(body) is None:\n",
        new="        if True:\n",
        tests=(f"{CALLER}::test_an_answer_that_no_judge_could_read_is_none",),
    ),
)
