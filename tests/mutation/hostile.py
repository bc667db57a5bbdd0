"""Guards against a service that is slow without end, large without end, somebody else's, or hostile."""

from __future__ import annotations

from mutation.breakage import Breakage

BOUNDS = "tests/api/test_bounds.py"
DOUBT = "tests/engine/test_doubt.py"
HOSTILE = "tests/scenarios/test_hostile.py"

HOSTILE_SERVICE = (
    Breakage(
        guard="a job is asked whether it is the one before it is adopted",
        file="engine/creating/submitter.py",
        old="remote = remote_job(await ask(self._service, batch, job))",
        new="remote = remote_job(await self._service.get(batch))",
        tests=(f"{DOUBT}::test_a_job_of_another_file_is_not_adopted",),
    ),
    Breakage(
        guard="an answer has a most of bytes",
        file="api/bounds.py",
        old="if size > self._most:",
        new="if self._most < 0:",
        tests=(f"{BOUNDS}::test_a_body_without_end_is_not_read_into_memory",),
    ),
    Breakage(
        guard="a pause longer than a call is left to the caller",
        file="api/client.py",
        old="if wait > (self.bounds.call if left is None else left):",
        new="if wait < 0:",
        tests=(f"{BOUNDS}::test_no_pause_is_longer_than_a_call",),
    ),
    Breakage(
        guard="a list has a most of pages",
        file="api/pages.py",
        old="for _ in range(bounds.pages):",
        new="for _ in range(10**9):",
        tests=(f"{BOUNDS}::test_a_list_without_end_is_not_taken_for_a_whole_one",),
    ),
    Breakage(
        guard="a transfer of crumbs is given up",
        file="api/bounds.py",
        old=" or self._crumbs >= self._bounds.crumbs",
        new="",
        tests=(f"{BOUNDS}::test_a_download_of_crumbs_is_given_up",),
    ),
    Breakage(
        guard="an answer about another job is none",
        file="api/batches.py",
        old="if name is not None and (name == asked if asked else job_name(name)):",
        new="if name is not None:",
        tests=("tests/api/test_identity.py::test_another_name_or_none_is_no_answer",),
    ),
    Breakage(
        guard="an answer about another job is not used by the engine",
        file="engine/poller.py",
        old="""what = f"{remote.name or 'no job'}" if remote.name != name else None""",
        new="what = None",
        tests=("tests/engine/test_polling.py::test_an_answer_about_another_job_is_not_used",),
    ),
    Breakage(
        guard="a job that reads another input file is not ours",
        file="wire.py",
        old='return None if same_file(job.file_name, file) else f"reads {job.file_name} instead of {file}"',
        new="return None",
        tests=(
            "tests/api/test_identity.py::test_a_create_is_answered_with_the_job_that_was_sent",
            f"{DOUBT}::test_a_job_that_reads_another_file_is_not_polled_for_ours",
        ),
    ),
    Breakage(
        guard="a create answered with a known job is in doubt",
        file="engine/creating/submitter.py",
        old="if not remote.name or remote.name in self._ledger.batches():",
        new="if not remote.name:",
        tests=(f"{DOUBT}::test_a_create_answered_with_a_known_job_is_in_doubt",),
    ),
    Breakage(
        guard="a list need not show the input file",
        file="engine/creating/create_policy.py",
        old="            and r.file_name is None\n",
        new="            and r.file_name is None\n            and wanted is None\n",
        tests=(f"{DOUBT}::test_a_list_without_the_input_file_is_enough",),
    ),
    Breakage(
        guard="a list that hides a known job is not believed",
        file="engine/creating/submitter.py",
        old="if await self._there(name) is not None:",
        new="if await self._there(name) is not None and not name:",
        tests=(f"{DOUBT}::test_a_list_that_hides_a_known_job_is_not_believed",),
    ),
    Breakage(
        guard="an upload is stored under the name that was chosen",
        file="engine/uploads/transfer.py",
        old="if name is None or not same_file(remote.name, name):",
        new="if not remote:",
        tests=(f"{DOUBT}::test_what_the_service_says_of_an_upload_is_what_was_sent",),
    ),
    Breakage(
        guard="a download of unstated size is compared with what is owed",
        file="engine/download.py",
        old="    if content.owed:\n",
        new="    if content.owed and first and not first:\n",
        tests=(f"{DOUBT}::test_a_file_of_unstated_size_is_compared_with_what_is_owed",),
    ),
    Breakage(
        guard="one 404 does not lose results",
        file="engine/download.py",
        old="            if times == ABSENT_TIMES:\n",
        new="            if times:\n",
        tests=(f"{DOUBT}::test_results_that_are_not_shown_once_are_asked_for_again",),
    ),
    Breakage(
        guard="the key in a row's error is not kept",
        file="engine/download.py",
        old="if await asyncio.to_thread(redact_words, part, Redactor(key)) and",
        new="if await asyncio.to_thread(bool, Redactor(key)) and",
        tests=(f"{DOUBT}::test_the_key_in_an_error_of_a_row_is_not_kept",),
    ),
    Breakage(
        guard="text of the service is made safe where it enters",
        file="wire.py",
        old="    return cleaned(found, clean)\n",
        new="    return found\n",
        tests=(f"{HOSTILE}::test_no_echo_is_passed_on",),
    ),
    Breakage(
        guard="words of a row are made safe",
        file="answers/verdict.py",
        old='printable(finding.message or "").strip()',
        new='(finding.message or "").strip()',
        tests=("tests/answers/test_judge.py::test_words_of_the_service_are_printable",),
    ),
    Breakage(
        guard="an odd value costs itself only",
        file="reading.py",
        old="return None if strict else _fields_of(mended, kind)",
        new="return None",
        tests=(f"{HOSTILE}::test_an_odd_value_costs_itself_only",),
    ),
    Breakage(
        guard="a page that is none is not the last one",
        file="reading.py",
        old="return None if strict else _fields_of(mended, kind)",
        new="return _fields_of(mended, kind)",
        tests=(f"{BOUNDS}::test_a_page_that_is_none_is_not_the_last",),
    ),
    Breakage(
        guard="a time that no calendar shows is none",
        file="reading.py",
        old="return seconds if 0 <= seconds < _LAST_TIME else None",
        new="return seconds",
        tests=(f"{HOSTILE}::test_an_odd_value_costs_itself_only",),
    ),
)
