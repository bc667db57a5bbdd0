"""Guards of row memory: nothing is sent that was answered, and no row takes an answer that is not its own."""

from __future__ import annotations

from mutation.breakage import Breakage

_RECALL = "tests/memory/test_recall.py"
_AT_ONCE = f"{_RECALL}::test_two_at_once_that_had_both_looked_first"

MEMORY = (
    Breakage(
        guard="a row that another run has claimed since the look-up is not sent",
        file="memory/claims.py",
        old="if ledger.execute(_ANOTHER, (job.id, job.run)).fetchone() is not None:",
        new="if ledger.execute(_ANOTHER, (job.id, job.run)).fetchone() is not None and not index:",
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
        old="            _drop_unfit(db, lender, wanted, method)\n",
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
)
