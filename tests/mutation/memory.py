"""Guards of row memory: nothing is sent that was answered, and no row takes an answer that is not its own."""

from __future__ import annotations

from mutation.breakage import Breakage

_RECALL = "tests/memory/test_recall.py"
_AT_ONCE = f"{_RECALL}::test_two_at_once_that_had_both_looked_first"
_FREEING = "tests/memory/test_freeing.py"
_RIVALS = "tests/memory/test_freeing_rivals.py"

MEMORY = (
    Breakage(
        guard="a row that another run has claimed since the look-up is not sent",
        file="memory/claims.py",
        old="if next(claimed_by_others(ledger, job.run, mine), None) is not None:",
        new="if not index:",
        tests=(f"{_AT_ONCE}[alive-before]",),
    ),
    Breakage(
        guard="a row that another run has collected since the look-up is not sent",
        file="memory/claims.py",
        old="if not index.covers({one: at for one, at in held.items() if one not in unread}):",
        new="if index is None:",
        tests=(f"{_AT_ONCE}[collected-after]",),
    ),
    Breakage(
        guard="a row that is in the index since the look-up is not sent",
        file="memory/claims.py",
        old="        if found:\n            raise TakenError",
        new="        if index is None:\n            raise TakenError",
        tests=(f"{_AT_ONCE}[indexed-before]",),
    ),
    Breakage(
        guard="a row that came into the index while it was searched is not sent",
        file="memory/claims.py",
        old="found = answered if index.jobs() == known else index.holds_any(rows.fingerprints(job.ordinal))",
        new="found = answered",
        tests=(f"{_AT_ONCE}[indexed-after]",),
    ),
    Breakage(
        guard="a row in a job that claims nothing is not sent",
        file="memory/claims.py",
        old="if any(one.id not in unread and one.run != job.run for one in _unclaimed(ledger)):",
        new="if index is None:",
        tests=("tests/memory/test_claims.py::test_a_job_that_is_shown_again_while_another_run_sends",),
    ),
    Breakage(
        guard="rows that were planned by a process that died are looked up again",
        file="memory/recall.py",
        old="return bool(rows.places() - {REMEMBERED, HELD, COPY, *made})",
        new="return bool(rows.waiting().requests)",
        tests=("tests/memory/test_claims.py::test_what_is_planned_is_looked_up_again[rows of an earlier version-2]",),
    ),
    Breakage(
        guard="what was made with --new takes no answers",
        file="memory/recall.py",
        old="return run.sha256 is not None and not run.anew and",
        new="return run.sha256 is not None and",
        tests=(f"{_RECALL}::test_new_sends_all_again_and_the_newest_answer_counts",),
    ),
    Breakage(
        guard="a file of another project is not taken for one of this",
        file="memory/fingerprint.py",
        old='ours = self.key_fingerprint if owned else ""',
        new='ours = ""',
        tests=(f"{_RECALL}::test_a_resource_of_the_project_counts_for_its_key_only",),
    ),
    Breakage(
        guard="answers that are damaged are fetched before anything is paid again",
        file="memory/borrowing.py",
        old='        whole = path.stat().st_size == file["bytes"]',
        new="        whole = path is not None",
        tests=(f"{_RECALL}::test_a_lender_whose_answers_are_damaged_is_to_fetch_them_first",),
    ),
    Breakage(
        guard="an answer is judged once more by what the request asks for",
        file="memory/borrowing.py",
        old="            _drop_unfit(rows, lender, wanted, method)\n",
        new="            pass\n",
        tests=(f"{_RECALL}::test_an_answer_is_judged_once_more",),
    ),
    Breakage(
        guard="a hash alone makes no copy",
        file="memory/copies.py",
        old='if same_body(line(pair["offset"], pair["length"]), line(pair["at"], pair["size"])):',
        new="if pair:",
        tests=(f"{_RECALL}::test_a_hash_alone_makes_no_copy",),
    ),
    Breakage(
        guard="a job of another key that cannot be seen stops the command",
        file="commands/remembering.py",
        old="            raise _not_visible(session, job, what) from error\n",
        new="            return\n",
        tests=(f"{_RECALL}::test_a_living_job_that_this_key_cannot_see_stops_before_spending",),
    ),
    Breakage(
        guard="answers that a kept run uses are not deleted",
        file="memory/freeing.py",
        old="while staying := [run for run, theirs in left.items() if not theirs <= left.keys()]:",
        new="while staying := [run for run, theirs in left.items() if not run]:",
        tests=(f"{_FREEING}::test_which_runs_go_together",),
    ),
    Breakage(
        guard="answers that a run has begun to use since the look-up are not deleted",
        file="memory/freeing.py",
        old="if any(users.get(run, set()) - set(runs) for run in runs):",
        new="if not users and not runs:",
        tests=(f"{_RIVALS}::test_a_run_that_takes_answers_in_the_last_moment",),
    ),
    Breakage(
        guard="a run that is being freed is locked",
        file="commands/clean_local.py",
        old="held.enter_context(self.session.state_folder.run(run).lock(wait=0.0))",
        new="held.enter_context(contextlib.nullcontext())",
        tests=(f"{_RIVALS}::test_a_run_that_is_in_use_or_damaged_stays",),
    ),
    Breakage(
        guard="what is deleted is decided again under the lock",
        file="commands/clean_local.py",
        old="if not all(files.values()):",
        new="if not files:",
        tests=(f"{_RIVALS}::test_two_at_once",),
    ),
    Breakage(
        guard="a run that has not finished is not freed",
        file="commands/clean_local.py",
        old="if facts.waiting or (not jobs and not facts.answered):",
        new="if facts.lost:",
        tests=(f"{_FREEING}::test_a_living_or_unfinished_run_stays",),
    ),
    Breakage(
        guard="a run that was freed lends nothing",
        file="memory/claims.py",
        old='"SELECT 1 FROM runs WHERE id = ? AND freed_at IS NULL"',
        new='"SELECT 1 FROM runs WHERE id = ?"',
        tests=(f"{_RIVALS}::test_an_index_that_still_names_a_freed_run",),
    ),
    Breakage(
        guard="parts that a job refers to are kept with the results",
        file="store/state_folder.py",
        old="if path.is_file() and path.name not in (needed or ()))",
        new="if path.is_file())",
        tests=(f"{_FREEING}::test_keep_results",),
    ),
    Breakage(
        guard="an older answer that is kept is remembered when the newer one goes",
        file="memory/index.py",
        old="db.executemany(_MOVE, mine)",
        new="list(mine)",
        tests=(f"{_FREEING}::test_an_older_answer_that_is_kept_is_remembered",),
    ),
)
