"""Guards of one job against a bad service: while it is made, and while its answers are brought in."""

from __future__ import annotations

from mutation.breakage import Breakage

NEXT = "tests/report/test_next_after_failures.py"
CREATING = (
    Breakage(
        guard="a create is sent once",
        file="api/batches.py",
        old="        repeat=False,\n        idle=client.bounds.idle_large,",
        new="        idle=client.bounds.idle_large,",
        tests=(
            "tests/api/test_batches.py::test_create_is_sent_once_and_only_once",
            "tests/scenarios/test_creating.py::test_creating",
        ),
    ),
    Breakage(
        guard="the intent is written down before the create",
        file="engine/creating/intent.py",
        old="                    stage=JobStage.INTENDED,\n",
        new="                    stage=job.stage,\n",
        tests=("tests/engine/test_life.py::test_a_create_that_happened_without_an_answer_is_adopted",),
    ),
    Breakage(
        guard="the list is read to its end twice before a second create",
        file="engine/creating/create_policy.py",
        old="MIN_LIST_READS = 2",
        new="MIN_LIST_READS = 1",
        tests=("tests/engine/test_decide.py::test_nothing_is_sent_twice_without_two_passes_and_the_time",),
    ),
    Breakage(
        guard="a list that lags behind is given its time",
        file="engine/creating/create_policy.py",
        old="(facts.last_list_read or 0.0) >= settled_at",
        new="facts.last_list_read is not None",
        tests=("tests/engine/test_life.py::test_the_next_process_gives_a_list_that_lags_behind_its_time",),
    ),
    Breakage(
        guard="an answer to a create that states another display name is another job's",
        file="wire.py",
        old='if display_name and job.display_name not in {"", _shortened(printable(display_name))}:',
        new="if False:",
        tests=("tests/engine/test_created.py::test_an_answer_with_another_job_is_not_adopted",),
    ),
    Breakage(
        guard="an answer to a create that states another number of requests is another job's",
        file="wire.py",
        old="if requests and job.total not in {0, requests}:",
        new="if False:",
        tests=("tests/engine/test_created.py::test_an_answer_with_another_job_is_not_adopted",),
    ),
    Breakage(
        guard="429 does not mean that no job was made",
        file="api/trouble.py",
        old="frozenset({Trouble.OVER_QUOTA, Trouble.STORE_FULL, Trouble.PASSING, Trouble.UNREADABLE})",
        new="frozenset({Trouble.STORE_FULL, Trouble.PASSING, Trouble.UNREADABLE})",
        tests=("tests/api/test_trouble.py::test_a_create_that_certainly_made_no_job",),
    ),
    Breakage(
        guard="a request that was sent may have arrived",
        file="api/trouble.py",
        old="return Trouble.PASSING if error.sent else Trouble.NOT_SENT",
        new="return Trouble.NOT_SENT",
        tests=(
            "tests/engine/test_life.py::test_a_create_that_happened_without_an_answer_is_adopted",
            "tests/scenarios/test_creating.py::test_creating",
        ),
    ),
    Breakage(
        guard="the same requests attach to their active job",
        file="engine/creating/create_policy.py",
        old="any(job.stage is JobStage.CREATED or _left_something(job) for job in jobs)",
        new="any(_left_something(job) for job in jobs)",
        tests=("tests/engine/test_life.py::test_the_same_command_again_attaches",),
    ),
    Breakage(
        guard="an upload goes on where the service says that it stands",
        file="api/files.py",
        old="        offset = min(received, size)\n",
        new="",
        tests=(
            "tests/api/test_upload.py::test_broken_chunk_is_asked_about_and_gone_on_from_there",
            "tests/scenarios/test_uploads.py::test_uploads",
        ),
    ),
    Breakage(
        guard="what arrived is what was sent",
        file="wire.py",
        old="return received in forms or received.lower() == sent_hex",
        new="return True",
        tests=(
            "tests/foundation/test_wire.py::test_digests",
            "tests/scenarios/test_uploads.py::test_what_arrived_is_not_what_was_sent",
        ),
    ),
)

COLLECTING = (
    Breakage(
        guard="a download that ended early is not the file",
        file="api/files.py",
        old="if _COUNT.fullmatch(length) and came != int(length):",
        new="if came < 0:",
        tests=(
            "tests/api/test_download.py::test_body_longer_than_it_says_is_not_the_file",
            "tests/api/test_download.py::test_body_that_ends_early_from_the_start_is_not_the_file",
        ),
    ),
    Breakage(
        guard="a part from elsewhere in the file",
        file="api/files.py",
        old="if found is None or int(found[1]) != offset:",
        new="if found is None:",
        tests=("tests/api/test_download.py::test_other_part_than_was_asked_for_is_not_taken",),
    ),
    Breakage(
        guard="a page in the place of the results",
        file="engine/download.py",
        old="    if content.is_foreign:\n",
        new="    if not remote.name:\n",
        tests=("tests/scenarios/test_fetching.py::test_fetching",),
    ),
    Breakage(
        guard="an answer to a key that nobody asked for is set aside",
        file="engine/judging.py",
        old="""                    found.strays.append((offset, len(line.data), "FOREIGN_KEY"))
                    continue
""",
        new="""                    wanted = next(iter(self._rows.wanted_from(0, 1, self._job.ordinal).values()))
""",
        tests=(
            "tests/property/test_result_files.py::test_any_damage",
            "tests/scenarios/test_fetching.py::test_fetching",
        ),
    ),
    Breakage(
        guard="answers are joined by key, not by their place",
        file="engine/asked.py",
        old="found = self._at_hand.get(key)",
        new="found = next(iter(self._at_hand.values()), None)",
        tests=(
            "tests/fault_matrix/test_matrix.py::test_the_three_commands[results-in-another-order]",
            "tests/property/test_result_files.py::test_any_damage",
        ),
    ),
    Breakage(
        guard="an answer in the file of another job is set aside",
        file="store/rows/rows.py",
        old='"AND +job = ?"',
        new='"AND ? > 0"',
        tests=("tests/property/test_result_files.py::test_answers_in_the_file_of_another_job",),
    ),
    Breakage(
        guard="every candidate of an answer is judged",
        file="answers/verdict.py",
        old="    for number, candidate in enumerate(candidates, 1):\n",
        new="    for number, candidate in enumerate(candidates[:1], 1):\n",
        tests=("tests/answers/test_judge.py::test_every_candidate_is_judged",),
    ),
    Breakage(
        guard="a limit that the request itself sets is not called the model's",
        file="store/job_rows.py",
        old="limits_set(folder, job, answers) if limit is None)",
        new="limits_set(folder, job, answers))",
        tests=("tests/engine/test_whose_limit.py::test_whose_limit_it_was",),
    ),
    Breakage(
        guard="the limit proposed for cut-off answers is at most what the model gives",
        file="report/more_tokens.py",
        old="    propose = wanted if most is None else min(most, wanted)\n",
        new="    propose = wanted\n",
        tests=(f"{NEXT}::test_a_limit_is_proposed_that_is_larger_than_the_one_that_was_set",),
    ),
    Breakage(
        guard="the limit proposed for cut-off answers is larger than the one that was set",
        file="report/more_tokens.py",
        old="    wanted = max(_USUAL, 2 * highest)\n",
        new="    wanted = _USUAL\n",
        tests=(f"{NEXT}::test_the_limit_of_a_retry_is_raised_by_the_next_one",),
    ),
    Breakage(
        guard="the first of two good answers counts",
        file="store/rows/conditions.py",
        old="(attempt << 44) - id",
        new="(attempt << 44) + id",
        tests=("tests/scenarios/test_fetching.py::test_fetching",),
    ),
    Breakage(
        guard="requests are found by an index when their answers are judged",
        file="engine/judging.py",
        old="            self._rows.index_keys()\n",
        new="            pass\n",
        tests=("tests/property/test_judged_blocks.py::test_requests_are_found_by_an_index",),
    ),
    Breakage(
        guard="what was judged of a file counts only when all of it was",
        file="engine/judging.py",
        old="        return self._read() if self._is_whole else None\n",
        new="        return self._read()\n",
        tests=("tests/property/test_judged_blocks.py::test_what_was_read_in_part_is_not_kept",),
    ),
    Breakage(
        guard="the lines of a block are numbered from those before it",
        file="engine/judging.py",
        old="self._numbered + number) for",
        new="number) for",
        tests=("tests/property/test_judged_blocks.py::test_blocks_of_any_size",),
    ),
    Breakage(
        guard="a task of a worker that died is done",
        file="workers.py",
        old="yield work(task) if found is _END else found",
        new="yield found",
        tests=("tests/foundation/test_workers.py::test_workers_that_die",),
    ),
    Breakage(
        guard="problems have the numbers of their lines in the whole file",
        file="intake/staging.py",
        old="line=(problem.line or 0) + before",
        new="line=problem.line",
        tests=("tests/property/test_request_files.py::test_blocks_of_any_size_give_the_same",),
    ),
    Breakage(
        guard="a success is not lost to a failure beside it",
        file="store/rows/conditions.py",
        old="((verdict = 'succeeded') << 60) + ",
        new="",
        tests=("tests/property/test_result_files.py::test_a_good_answer_counts_wherever_it_stands",),
    ),
    Breakage(
        guard="a request without an answer is missing",
        file="store/rows/row_counts.py",
        old="SELECT job, coalesce(a.verdict, 'missing'), count(*) ",
        new="SELECT job, coalesce(a.verdict, 'succeeded'), count(*) ",
        tests=(
            "tests/fault_matrix/test_matrix.py::test_the_three_commands[one-row-absent]",
            "tests/property/test_result_files.py::test_any_bytes",
        ),
    ),
    Breakage(
        guard="a finish reason that nobody knows is no success",
        file="answers/verdict.py",
        old="""return _Finding("failed", "UNKNOWN_FINISH_REASON", f"The finish reason {finish[:100]!r} is unknown.")""",
        new="return None",
        tests=("tests/answers/test_judge.py::test_no_unknown_finish_reason_is_a_success",),
    ),
    Breakage(
        guard="a picture that cannot be read is no success",
        file="answers/verdict.py",
        old="if blobs and BlobState.BROKEN in blobs:",
        new="if blobs and BlobState.BROKEN in blobs and expects_json:",
        tests=(
            "tests/answers/test_judge.py::test_media_that_cannot_be_read_is_no_success",
            "tests/engine/test_retry.py::test_a_picture_that_cannot_be_read_is_offered_to_retry",
        ),
    ),
    Breakage(
        guard="a picture without data is no success next to a text",
        file="answers/verdict.py",
        old="if blobs and BlobState.EMPTY in blobs:",
        new="if blobs and BlobState.EMPTY in blobs and expects_json:",
        tests=("tests/answers/test_judge.py::test_every_part_of_the_answer_has_to_be_readable",),
    ),
    Breakage(
        guard="an error wins over the response beside it",
        file="answers/verdict.py",
        old="if answer.error is not None:",
        new="if answer.error is not None and finding is not None:",
        tests=("tests/answers/test_judge.py::test_an_error_wins_over_the_response_beside_it",),
    ),
    Breakage(
        guard="in a line of OpenAI's shape, a status of 400 and more is an error",
        file="answers/openai_output.py",
        old="type(status) is int and status >= 400",
        new="type(status) is int and status >= 600",
        tests=("tests/answers/test_openai_lines.py::test_errors",),
    ),
    Breakage(
        guard="in a line of OpenAI's shape, an error wins over the response beside it",
        file="answers/openai_output.py",
        old='if bytes(error) not in (b"", b"null"):',
        new='if bytes(error) not in (b"", b"null") and "response" not in line:',
        tests=("tests/answers/test_openai_lines.py::test_errors",),
    ),
    Breakage(
        guard="no unknown finish reason of a chat completion is a success",
        file="answers/openai_output.py",
        old="else (reason, None)",
        new='else ("STOP", None)',
        tests=("tests/answers/test_openai_lines.py::test_bodies",),
    ),
    Breakage(
        guard="a line that is no text is no answer",
        file="answers/parse.py",
        old="if not data.isascii():",
        new="if not data:",
        tests=("tests/answers/test_parse_line.py::test_lines_without_a_usable_key_are_none",),
    ),
)
