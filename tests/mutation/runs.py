"""Guards of runs of many jobs: against crashes, other processes, and a service that has trouble with one of them."""

from __future__ import annotations

from mutation.breakage import Breakage

CONDUCT = "tests/engine/test_conduct.py"
TROUBLE = "tests/engine/test_trouble.py"
RETRY = "tests/engine/test_retry.py"
PROGRESS = "tests/engine/test_progress.py"

RUNS = (
    Breakage(
        guard="what was planned but not written down is found before a run is called finished",
        file="commands/run.py",
        old="        reconcile(ledger, rows, run)\n",
        new="",
        tests=("tests/engine/test_run.py::test_death_while_the_last_job_is_planned",),
    ),
    Breakage(
        guard="a loss is written down before anything else",
        file="engine/collector.py",
        old="stage=JobStage.ENDED, lost=reason)",
        new="stage=JobStage.ENDED)",
        tests=(f"{CONDUCT}::test_a_deleted_job_is_missing_and_the_rest_comes_in",),
    ),
    Breakage(
        guard="nothing of a lost job is resent by itself",
        file="engine/resend.py",
        old="if job.cancelled_at is not None or job.lost is not None:",
        new="if job.cancelled_at is not None:",
        tests=(f"{TROUBLE}::test_death_while_a_loss_is_written_down",),
    ),
    Breakage(
        guard="what a job left unanswered is sent again once",
        file="engine/resend.py",
        old="    once = min(2, attempts)\n",
        new="    once = attempts\n",
        tests=("tests/engine/test_sending_again.py::test_an_unanswered_row_is_sent_again_once",),
    ),
    Breakage(
        guard="no retry is proposed for errors that last",
        file="report/next_steps.py",
        old='return failure.verdict == "failed" and failure.reason in LASTING_REASONS',
        new="return False",
        tests=("tests/report/test_next_after_failures.py::test_what_fails_for_good_is_to_be_fixed",),
    ),
    Breakage(
        guard="create sends nothing after a cancel",
        file="engine/create_policy.py",
        old="    if any(job.cancelled_at is not None or job.phase is Phase.CANCELLED for job in jobs):\n",
        new="    if False:\n",
        tests=("tests/commands/test_not_silently.py::test_nothing_is_sent_after_a_cancel_without_new",),
    ),
    Breakage(
        guard="an interrupted --new is not continued in silence",
        file="commands/create.py",
        old="        if not entered.is_new:\n            warn_of_earlier_jobs(session, run)\n",
        new="",
        tests=("tests/commands/test_not_silently.py::test_what_continues_an_interrupted_new_says_that_it_sends_again",),
    ),
    Breakage(
        guard="a job is gone only after the service has said so for a while",
        file="engine/backoff.py",
        old="return self.times >= self._least and now - self._since >= self._seconds",
        new="return True",
        tests=(f"{CONDUCT}::test_a_job_that_cannot_be_found_for_a_while_is_not_gone",),
    ),
    Breakage(
        guard="a proxy's 404 is not the service's",
        file="api/trouble.py",
        old="if error.status in _NEEDS_A_REASON and not error.reason:",
        new="if False:",
        tests=(f"{TROUBLE}::test_a_proxy_that_knows_no_job_proves_nothing",),
    ),
    Breakage(
        guard="an old look does not undo what was collected",
        file="store/ledger.py",
        old="if now.stage is JobStage.COLLECTED or (now.stage is JobStage.ENDED and not remote.phase.ended):",
        new="if False:",
        tests=(f"{TROUBLE}::test_an_old_look_undoes_nothing",),
    ),
    Breakage(
        guard="a refusal for good ends the run only after what is there was brought in",
        file="engine/runner.py",
        old="        self._closed = True\n",
        new="        self._closed = True\n        raise error\n",
        tests=(f"{CONDUCT}::test_a_refused_job_does_not_keep_the_others_away",),
    ),
    Breakage(
        guard="after a refusal for good nothing more is sent",
        file="engine/runner.py",
        old="        self._closed = True\n",
        new="",
        tests=(f"{CONDUCT}::test_after_a_refusal_nothing_more_is_sent",),
    ),
    Breakage(
        guard="an ended job that only waits for a collector is not waited for by the clock",
        file="engine/scheduler.py",
        old="if now < time < math.inf]",
        new="if time < math.inf]",
        tests=(f"{TROUBLE}::test_a_schedule_never_spins",),
    ),
    Breakage(
        guard="room is asked for once more just before the create",
        file="engine/submitter.py",
        old="if self._may_send is not None and job.stage is JobStage.UPLOADED and not self._may_send(job):",
        new="if False:",
        tests=(f"{CONDUCT}::test_room_that_others_took_during_the_upload_is_not_asked_for",),
    ),
    Breakage(
        guard="other runs' jobs are looked at when there seems to be no room",
        file="engine/scheduler.py",
        old="if unsent and facts.others and not facts.busy and now >= facts.poll_others_at:",
        new="if False:",
        tests=(f"{TROUBLE}::test_jobs_of_others_that_have_ended_take_no_room",),
    ),
    Breakage(
        guard="pauses grow although something of ours is alive",
        file="engine/quota.py",
        old="            self._refusals.excused(self._clock())  # room appears when they end, whenever that is\n",
        new="            self._refusals = Backoff()\n            self._refusals.failed(self._clock())\n",
        tests=(f"{TROUBLE}::test_a_refusal_beside_a_living_job_is_not_repeated_every_minute",),
    ),
    Breakage(
        guard="a create stays in doubt until it was really waited",
        file="engine/create_policy.py",
        old=" and not too_soon:",
        new=":",
        tests=(f"{TROUBLE}::test_a_clock_that_leaps_ahead_does_not_end_a_doubt",),
    ),
    Breakage(
        guard="pauses go by a clock that nobody sets",
        file="world.py",
        old="= time.monotonic\n",
        new="= time.time\n",
        tests=("tests/foundation/test_world.py::test_now_is_now_and_chance_stays_in_its_range",),
    ),
    Breakage(
        guard="patience with an outage goes by a clock that nobody sets",
        file="engine/quota.py",
        old="world.now, world.monotonic",
        new="world.now, world.now",
        tests=(f"{CONDUCT}::test_an_outage_is_not_longer_because_someone_sets_the_clock",),
    ),
    Breakage(
        guard="a create in doubt does not stay so until a clock is right again",
        file="engine/create_policy.py",
        old="intended_at = None if facts.intended_at is None else min(facts.intended_at, now)",
        new="intended_at = facts.intended_at",
        tests=(f"{CONDUCT}::test_a_clock_set_back_while_a_create_is_in_doubt",),
    ),
    Breakage(
        guard="fewer lines than the service has counted are fetched once more",
        file="engine/download.py",
        old="if first and _lines(part) < remote.succeeded + remote.failed:",
        new="if False:",
        tests=(f"{TROUBLE}::test_a_file_that_ends_early_between_lines_is_fetched_again",),
    ),
    Breakage(
        guard="trouble with one job does not keep the others from being seen",
        file="engine/poller.py",
        old="            except ServiceError as error:\n                failed[job.id] = job, error\n",
        new="            except ApiError as error:\n                failed[job.id] = job, error\n",
        tests=(f"{TROUBLE}::test_one_job_that_cannot_be_seen_keeps_nobody_away",),
    ),
    Breakage(
        guard="a retry sends what is named, and not what failed beside it",
        file="commands/retry.py",
        old="work_off(session, run, None, leftovers=False)",
        new="work_off(session, run, None)",
        tests=(f"{RETRY}::test_retry_of_what_create_made",),
    ),
    Breakage(
        guard="a retried request counts its attempts anew",
        file="store/rows.py",
        old="SET job = NULL, attempts_excused = attempts WHERE",
        new="SET job = NULL WHERE",
        tests=(f"{TROUBLE}::test_what_a_retry_sends_goes_once_more_when_its_job_expires",),
    ),
    Breakage(
        guard="requests that are about to be resent are not called done",
        file="report/summary.py",
        old="if j.stage is JobStage.COLLECTED and j.ordinal not in busy)",
        new="if j.stage is JobStage.COLLECTED)",
        tests=(f"{PROGRESS}::test_requests_that_wait_for_their_turn_again_are_not_done",),
    ),
    Breakage(
        guard="what failed by the service's count is not called done",
        file="report/summary.py",
        old="self._answered + self.uncollected.succeeded))",
        new="self._answered + sum(self.uncollected)))",
        tests=(f"{PROGRESS}::test_it_does_not_go_backwards_when_requests_are_resent",),
    ),
    Breakage(
        guard="the requests done never become fewer",
        file="report/summary.py",
        old="self.done = max(self.done, min(",
        new="self.done = max(0, min(",
        tests=(f"{PROGRESS}::test_an_output_that_lacks_what_was_counted_takes_nothing_back",),
    ),
    Breakage(
        guard="work that is out of time has stopped when that is said",
        file="world.py",
        old="            working.cancel()\n",
        new="            pass\n",
        tests=("tests/foundation/test_world.py::test_work_that_is_cancelled_by_its_caller_is_not_out_of_time",),
    ),
)
