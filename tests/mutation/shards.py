"""Guards of a run over shards: what is sent is what was checked, and what was paid for is not sent again."""

from __future__ import annotations

from mutation.breakage import Breakage

_SHARDS = "tests/commands/test_shards.py"
_FINISHED = "tests/commands/test_finished_shards.py"
_MADE = "tests/tables/test_shards_of.py"

_OBJECTS = "tests/objects"

SHARDS = (
    Breakage(
        guard="earlier results in a bucket are looked at before they are replaced",
        file="report/shards/folder.py",
        old="                    found.check(file)\n",
        new="",
        tests=(f"{_OBJECTS}/test_shards.py::test_earlier_results_are_not_here_while_they_are_written_anew",),
    ),
    Breakage(
        guard="answers that are here are collected first",
        file="commands/shards.py",
        old="self._ended.insert(0 if ",
        new="self._ended.insert(len(self._ended) if ",
        tests=(f"{_SHARDS}::test_what_is_here_of_answers_is_collected_first",),
    ),
    Breakage(
        guard="an object that others wrote meanwhile is not replaced",
        file="objects/mirror.py",
        old="            if (path, there) not in self._media:\n",
        new="            if not path:\n",
        tests=(f"{_OBJECTS}/test_stores.py::test_what_others_wrote_meanwhile_stays[s3-None]",),
    ),
    Breakage(
        guard="what is read is not written, whatever it is called",
        file="objects/names.py",
        old="    return Path(os.path.realpath(text.removeprefix(_LOCAL)))\n",
        new="    return path\n",
        tests=(
            f"{_OBJECTS}/test_verbs.py::test_what_is_read_is_not_written[{{0}}/data/out.csv-file://{{0}}/data/out.csv]",
        ),
    ),
    Breakage(
        guard="a lock in a bucket that is alive is not taken",
        file="objects/lock.py",
        old='            if found == "live":\n',
        new='            if found == "dead":\n',
        tests=(f"{_OBJECTS}/test_verbs.py::test_someone_elses_lock_ends_it_before_anything_is_sent",),
    ),
    Breakage(
        guard="nothing is sent once a lock in a bucket is lost",
        file="engine/creating/submitter.py",
        old="                    await check_locks()\n",
        new="",
        tests=(f"{_OBJECTS}/test_verbs.py::test_a_lost_lock_stops_a_run",),
    ),
    Breakage(
        guard="what another state folder has answered is not sent",
        file="commands/finished_shards.py",
        old="    if line is None or _is_known(session, line.run):\n",
        new="    if line is None or shard:\n",
        tests=(f"{_OBJECTS}/test_shards.py::test_what_another_machine_has_answered_is_not_paid_for_again",),
    ),
    Breakage(
        guard="a shard in a bucket that was changed is not read",
        file="store/shard_file.py",
        old="        if not now.is_same_as(seen):\n",
        new="        if seen is None:\n",
        tests=(
            f"{_OBJECTS}/test_shards.py::test_a_shard_that_was_changed_is_refused_and_one_that_was_copied_is_not[s3]",
        ),
    ),
    Breakage(
        guard="a shard is what its manifest says, whatever else has its content",
        file="intake/submission.py",
        old="    look = not submission.new and besides is None and submission.shard is None ",
        new="    look = not submission.new and besides is None ",
        tests=(f"{_FINISHED}::test_a_shard_that_has_the_content_of_another_run_is_refused[True]",),
    ),
    Breakage(
        guard="results that are not those that were written last do not count as a shard's",
        file="report/shards/folder.py",
        old=" or None in ages:",
        new=":",
        tests=(f"{_FINISHED}::test_a_process_that_ends_before_it_writes_the_manifest_loses_no_results",),
    ),
    Breakage(
        guard="answers of two models are not mixed",
        file="intake/made_shards.py",
        old=" or asked.setdefault(line.method, terms) == terms:",
        new=" or terms:",
        tests=(f"{_MADE}::test_answers_of_two_models_are_not_mixed",),
    ),
    Breakage(
        guard="a load job that an earlier process left is waited for",
        file="objects/bigquery/stand_ins.py",
        old="            found = job if job.done else self._service.wait(address, name, location)\n",
        new="            found = job\n",
        tests=("tests/bigquery/test_stand_ins.py::test_a_load_that_was_interrupted_is_waited_for[False-True]",),
    ),
    Breakage(
        guard="nothing more is sent of a shard that an error has stopped",
        file="commands/shards.py",
        old="            elif shard.line not in self._stopped:\n",
        new="            else:\n",
        tests=(f"{_SHARDS}::test_what_ends_the_sending_of_a_shard_is_not_tried_again",),
    ),
    Breakage(
        guard="nothing is read from a shard that was changed",
        file="store/shard_file.py",
        old="        if not same:\n",
        new="        if not now:\n",
        tests=(f"{_SHARDS}::test_a_shard_that_was_changed_is_refused",),
    ),
    Breakage(
        guard="a shard that is not what its manifest says is not sent",
        file="store/shard_manifest.py",
        old="        if said != found:\n",
        new="        if said is None:\n",
        tests=(f"{_SHARDS}::test_a_shard_that_is_not_what_the_manifest_says_is_not_sent[sha256]",),
    ),
    Breakage(
        guard="a shard is sent as it was checked, without blank lines or other line ends",
        file="intake/staging.py",
        old="    if in_place and not done.even:\n",
        new="    if in_place and not done:\n",
        tests=(f"{_SHARDS}::test_a_shard_that_is_not_canonical_is_refused",),
    ),
    Breakage(
        guard="a shard whose results were moved away is not paid for again",
        file="commands/finished_shards.py",
        old="newest_with_identity(name, written=True)",
        new="newest_with_identity(name)",
        tests=(f"{_FINISHED}::test_results_that_were_moved_are_not_paid_for_again",),
    ),
    Breakage(
        guard="a limit of money holds for all shards together",
        file="engine/creating/budget.py",
        old='own = (_SHARDS, self.caps.run, "runs.shards = ?", (shards,))',
        new='own = (_SHARDS, self.caps.run, "jobs.run = ?", (self._run.id,))',
        tests=(f"{_SHARDS}::test_a_limit_holds_for_all_shards_together",),
    ),
    Breakage(
        guard="one process works on shards",
        file="commands/shards.py",
        old="    with session.state_folder.shards():\n",
        new="    if session.state_folder.exists():\n",
        tests=(f"{_SHARDS}::test_one_process_works_on_the_shards_of_a_manifest",),
    ),
    Breakage(
        guard="shards of other requests do not take the place of shards that may have been sent",
        file="intake/made_shards.py",
        old="    if (summed(before[0]), before[1]) != (summed(now[0]), now[1]):\n",
        new="    if before[1] != now[1]:\n",
        tests=(f"{_MADE}::test_other_requests_do_not_take_the_place_of_those_that_were_named",),
    ),
    Breakage(
        guard="the same requests, cut in another way, are those that were sent",
        file="intake/made_shards.py",
        old="        if earlier is not None:\n            discard(found, place)\n            return manifest\n",
        new="",
        tests=(f"{_MADE}::test_the_same_requests_in_other_shards_leave_the_first_ones",),
    ),
    Breakage(
        guard="a key is unique over all shards that are made of rows",
        file="intake/made_shards.py",
        old="HAVING number > 1 ",
        new="HAVING number > 2 ",
        tests=(f"{_MADE}::test_a_key_in_two_shards_is_named_and_there_is_no_manifest",),
    ),
)
