"""Guards against bad input, a bad machine, and secrets and names that get out."""

from __future__ import annotations

from mutation.breakage import Breakage

MISTAKES = "tests/cli/test_mistakes.py"
MEDIA = "tests/answers/test_media_folder.py"
SETTINGS = "tests/foundation/test_settings.py"
SHOW = "tests/cli/test_show.py"

BAD_INPUT = (
    Breakage(
        guard="a key that is used twice",
        file="intake/staging.py",
        old="islice(rows.duplicates(KEPT_PROBLEMS), KEPT_PROBLEMS)",
        new="islice(rows.duplicates(KEPT_PROBLEMS), 0)",
        tests=(f"{MISTAKES}::test_a_mistake[key twice]", "tests/property/test_request_files.py::test_keys_must_differ"),
    ),
    Breakage(
        guard="a line that is refused takes part in the search for repeated keys",
        file="intake/checking.py",
        old="            self._bad_row(data, number)\n",
        new="",
        tests=("tests/property/test_request_files.py::test_a_key_of_a_line_that_is_refused_is_used_up",),
    ),
    Breakage(
        guard="a byte order mark before the first line",
        file="intake/checking.py",
        old="line = line.removeprefix(UTF8_BOM)",
        new="pass",
        tests=(
            f"{MISTAKES}::test_the_good_file_is_good",
            "tests/property/test_request_files.py::test_any_damage",
        ),
    ),
    Breakage(
        guard="a file in UTF-16",
        file="validation/inputfile.py",
        old="    if encoding is not None:\n        raise",
        new="    if encoding is not None and not path:\n        raise",
        tests=(
            f"{MISTAKES}::test_a_mistake[utf-16]",
            "tests/validation/test_check_file.py::test_what_cannot_hold_requests_is_refused",
        ),
    ),
    Breakage(
        guard="one byte more than a job takes",
        file="validation/inputfile.py",
        old="size > limit:",
        new="size > limit + 1:",
        tests=(
            f"{MISTAKES}::test_a_mistake[2 GB + 1]",
            "tests/validation/test_check_file.py::test_a_file_over_the_limit_is_sent_to_run",
        ),
    ),
    Breakage(
        guard="a file that somebody is still writing",
        file="validation/inputfile.py",
        old="if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):",
        new="if before is None:",
        tests=(f"{MISTAKES}::test_a_file_that_changes_while_it_is_read",),
    ),
    Breakage(
        guard="lines end at a line feed and nowhere else",
        file="jsonl.py",
        old="while data := source.readline(limit + 1):",
        new=r'for data in source.read().replace(b"\xe2\x80\xa8", b"\n").splitlines(keepends=True):',
        tests=("tests/foundation/test_lines.py::test_line_signs_of_unicode_end_no_line",),
    ),
    Breakage(
        guard="a line too long for the memory",
        file="jsonl.py",
        old="if not ended and len(data) > limit:",
        new="if not ended and len(data) > limit + 1:",
        tests=("tests/foundation/test_lines.py::test_longer_line_is_named_and_not_read_to_its_end",),
    ),
    Breakage(
        guard="a name that is no job's",
        file="session.py",
        old="if not _NAME.fullmatch(name) and",
        new="if not _NAME.match(name) and",
        tests=(f"{MISTAKES}::test_a_mistake[an emoji as job name]",),
    ),
    Breakage(
        guard="a name stays one piece of a path at the service",
        file="api/client.py",
        old='return quote(name, safe="")',
        new="return name",
        tests=("tests/api/test_client.py::test_odd_names_stay_one_piece_of_the_path",),
    ),
    Breakage(
        guard="a key chooses no folder",
        file="answers/media.py",
        old='if _PLAIN.fullmatch(key) and not key.endswith(".") and not _RESERVED.fullmatch(key):',
        new="if key:",
        tests=(
            "tests/crashes/test_interruptions.py::test_names_never_choose_a_path",
            "tests/answers/test_media.py::test_no_two_keys_share_a_name_and_none_leaves_the_folder",
        ),
    ),
    Breakage(
        guard="control characters in an error",
        file="cli/outcome.py",
        old='(c.isprintable() or c == " ")',
        new="c",
        tests=(f"{MISTAKES}::test_a_mistake[file name with escape codes]",),
    ),
    Breakage(
        guard="results replace nothing but results",
        file="report/output_files.py",
        old="return known.sha256 == content and known.kind == kind",
        new="return True",
        tests=("tests/cli/test_replaced_files.py::test_what_was_written_is_replaced_until_it_is_changed",),
    ),
    Breakage(
        guard="a file that is not recorded is replaced only if each line has our form",
        file="report/output_files.py",
        old="        return _has_form(path, kind)\n",
        new="        return True\n",
        tests=(
            f"{MISTAKES}::test_a_mistake[results over requests]",
            "tests/report/test_output_files.py::test_only_its_own_kind_is_replaced",
        ),
    ),
    Breakage(
        guard="a recorded file is replaced only by its own kind",
        file="report/output_files.py",
        old="return known.sha256 == content and known.kind == kind",
        new="return known.sha256 == content",
        tests=("tests/cli/test_replaced_files.py::test_a_file_of_a_kind_is_not_replaced_by_one_of_another",),
    ),
    Breakage(
        guard="results are not replaced by fewer of the same run",
        file="report/output_files.py",
        old="there = known.succeeded if known.run == run.id else 0",
        new="there = 0",
        tests=("tests/cli/test_replaced_files.py::test_results_are_not_replaced_by_fewer_of_the_same_run",),
    ),
    Breakage(
        guard="an unfinished download that holds the key is removed",
        file="engine/download.py",
        old="        if holds_key(part, redactor):\n",
        new="        if False:\n",
        tests=("tests/engine/test_conduct.py::test_an_unfinished_download_that_holds_the_key_does_not_stay",),
    ),
    Breakage(
        guard="a 403 about the key says nothing of the object",
        file="api/error_answers.py",
        old='return status == 403 and "api key" in message.lower()',
        new="return False",
        tests=("tests/api/test_trouble.py::test_what_an_answer_means",),
    ),
    Breakage(
        guard="the key leaves the service's words whatever their field is called",
        file="answers/redaction.py",
        old="    if place in _KEPT:\n",
        new='    if place and place[-1] in {"key", "content"}:\n',
        tests=("tests/answers/test_redaction.py::test_the_services_words_lose_the_key",),
    ),
)

LOCAL = (
    Breakage(
        guard="a media file that the user has is not replaced",
        file="answers/media_folder.py",
        old="        if (name, held) not in self._written():",
        new="        if not held:",
        tests=(
            f"{MEDIA}::test_what_the_user_has_stays",
            f"{MEDIA}::test_nothing_is_written_where_one_file_is_in_the_way",
        ),
    ),
    Breakage(
        guard="a link or FIFO in the place of a media file is not replaced",
        file="answers/media_folder.py",
        old="        if not stat.S_ISREG(mode):",
        new="        if stat.S_ISDIR(mode):",
        tests=(f"{MEDIA}::test_what_the_user_has_stays",),
    ),
    Breakage(
        guard="all media files are checked before the first is written",
        file="answers/media.py",
        old="        if self._place.is_empty():",
        new="        if self._place:",
        tests=(f"{MEDIA}::test_nothing_is_written_where_one_file_is_in_the_way",),
    ),
    Breakage(
        guard="results are not written through a link to nothing",
        file="report/output_files.py",
        old='(kind == "failures" or not path.exists()):',
        new='kind == "failures":',
        tests=("tests/cli/test_user_files.py::test_what_is_in_the_way_is_named_and_stays",),
    ),
    Breakage(
        guard="a link in the place of the failures file is not replaced",
        file="report/output_files.py",
        old='if path.is_symlink() and (kind == "failures" or not path.exists()):',
        new="if path.is_symlink() and not path.exists():",
        tests=("tests/cli/test_user_files.py::test_what_is_in_the_way_is_named_and_stays",),
    ),
    Breakage(
        guard="events of work in threads arrive on one thread",
        file="events.py",
        old="            loop.call_soon_threadsafe(handle, event, handled)\n            handled.result()",
        new="            emit(event)",
        tests=("tests/face/test_clients.py::test_events_arrive_on_the_thread_of_the_loop",),
    ),
    Breakage(
        guard="types with their public name can still be decoded",
        file="__init__.py",
        old="value.__annotations__ = inspect.get_annotations(value, eval_str=True)",
        new="pass",
        tests=("tests/face/test_names.py::test_types_that_are_read_from_files_still_can_be",),
    ),
    Breakage(
        guard="a file that broke off gets no name",
        file="jsonl.py",
        old="    finally:\n        path_of_part(path, file).unlink(missing_ok=True)",
        new="""    finally:
        written = path_of_part(path, file)
        if written.exists():
            written.replace(path)""",
        tests=("tests/foundation/test_atomic_write.py::test_any_error_leaves_what_was_there",),
    ),
    Breakage(
        guard="bytes are on the disk before the name is",
        file="jsonl.py",
        old="        file.flush()\n        os.fsync(file.fileno())",
        new="        file.flush()",
        tests=("tests/foundation/test_atomic_write.py::test_bytes_are_on_the_disk_before_the_name_is",),
    ),
    Breakage(
        guard="one process works on a run",
        file="store/state_folder.py",
        old="        lock.acquire(poll_interval=0.05)\n",
        new="        pass\n",
        tests=(
            "tests/crashes/test_offline.py::test_two_creates_of_the_same_file_make_one_job",
            "tests/engine/test_run.py::test_two_processes_do_not_conduct_one_run",
        ),
    ),
    Breakage(
        guard="a ledger of a newer program is left alone",
        file="store/sqlite.py",
        old="if version > len(migrations):",
        new="if version < 0:",
        tests=(f"{MISTAKES}::test_a_home_that_cannot_be_used[newer ledger]",),
    ),
    Breakage(
        guard="a run belongs to the address that it was made at",
        file="session.py",
        old="if target.run.backend == address_of(self.settings):",
        new="if True:",
        tests=("tests/engine/test_around.py::test_a_job_is_not_asked_for_at_another_address",),
    ),
    Breakage(
        guard="another project's key is told from a job that is gone",
        file="session.py",
        old="if isinstance(target, KnownJob) and target.job.key_fingerprint != self.key_fingerprint():",
        new="if isinstance(target, UnknownJob):",
        tests=("tests/engine/test_around.py::test_another_key_is_told_from_a_lost_job",),
    ),
    Breakage(
        guard="a file that a active job needs is not deleted",
        file="commands/clean.py",
        old='        return f"its job is alive ({job.state})"',
        new="        return None",
        tests=("tests/engine/test_around.py::test_only_what_is_ours_and_needed_no_more_is_cleaned",),
    ),
    Breakage(
        guard="a row is not shown with another row's answer",
        file="commands/shown_row.py",
        old="if not isinstance(answer, Answer) or answer.key != (label_of(key) if answer.labelled else key):",
        new="if not isinstance(answer, Answer):",
        tests=(f"{SHOW}::test_an_answer_file_that_was_changed",),
    ),
    Breakage(
        guard="texts of a row reach a screen without control characters",
        file="cli/row_view.py",
        old="        text.append(clean(words))",
        new="        text.append(words)",
        tests=("tests/cli/test_row_view.py::test_no_control_character_reaches_a_screen",),
    ),
    Breakage(
        guard="an unknown cost of a row is not zero",
        file="report/money.py",
        old='        return "cost unknown"',
        new='        return "$0"',
        tests=("tests/cli/test_row_view.py::test_a_header",),
    ),
)

SECRETS = (
    Breakage(
        guard="a .env file sets only what it may set",
        file="settings.py",
        old="value is not None and name in DOTENV_NAMES}",
        new='value is not None and name.startswith("G")}',
        tests=(f"{SETTINGS}::test_what_a_file_may_set",),
    ),
    Breakage(
        guard="the key in the words of the service",
        file="api/error_answers.py",
        old="body = clean.in_bytes(body)",
        new="body = bytes(body)",
        tests=("tests/api/test_secrecy.py::test_key_that_the_service_echoes_is_not_passed_on",),
    ),
    Breakage(
        guard="the key in the words of the HTTP library",
        file="api/client.py",
        old='kept = None if self.clean.holds_secret(words.encode("utf-8", "replace")) else error',
        new="kept = error",
        tests=("tests/api/test_secrecy.py::test_broken_connection_does_not_show_the_key",),
    ),
    Breakage(
        guard="the key does not show itself",
        file="settings.py",
        old='return "Secret(…)"',
        new="return self._value",
        tests=("tests/foundation/test_settings.py::test_secret_does_not_show",),
    ),
    Breakage(
        guard="redirects are not followed",
        file="api/client.py",
        old="follow_redirects=False",
        new="follow_redirects=True",
        tests=("tests/api/test_client.py::test_redirects_are_not_followed",),
    ),
    Breakage(
        guard="nothing is sent to another host",
        file="api/client.py",
        old="return given._replace(scheme=base.scheme, netloc=base.netloc, path=path).geturl()",
        new="return given._replace(path=path).geturl()",
        tests=(
            "tests/api/test_client.py::test_nothing_is_sent_to_another_host",
            "tests/api/test_upload.py::test_upload_url_of_another_host_is_brought_home",
        ),
    ),
    Breakage(
        guard="a .env does not move the user's key to an address of its choice",
        file="settings.py",
        old="if env_key in {None, file_key}:",
        new="if moved:",
        tests=(
            f"{MISTAKES}::test_a_dotenv_does_not_move_the_key_elsewhere",
            "tests/foundation/test_settings.py::test_file_does_not_send_the_environments_key_elsewhere",
        ),
    ),
    Breakage(
        guard="a blank address is named before anything is sent there",
        file="session.py",
        old="is not None or not self.settings.blank_base_url:",
        new="is not None or self.settings.blank_base_url:",
        tests=("tests/engine/test_blank_address.py::test_what_spends_names_a_blank_address_before_anything_is_sent",),
    ),
    Breakage(
        guard="a .env takes nothing else out of the environment",
        file="settings.py",
        old="interpolate=False",
        new="interpolate=True",
        tests=("tests/foundation/test_settings.py::test_file_cannot_take_other_secrets_of_the_environment",),
    ),
)
