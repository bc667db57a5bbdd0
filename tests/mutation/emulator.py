"""Guards of the emulator against web pages; of what is stored against other users; and bounds."""

from __future__ import annotations

from mutation.breakage import Breakage

_TESTS = "tests/emulator/http/test_callers.py"

CALLERS = (
    Breakage(
        guard="the emulator answers only to names of this machine",
        file="emulator/http/callers.py",
        old="if place is None or not (place.host in self._hosts or is_loopback(place.host)):",
        new="if place is None:",
        tests=(f"{_TESTS}::test_a_web_page_changes_nothing", f"{_TESTS}::test_further_names"),
    ),
    Breakage(
        guard="the emulator refuses another site's origin",
        file="emulator/http/callers.py",
        old="            if not _is_at(origin, place):",
        new="            if not origin:",
        tests=(f"{_TESTS}::test_a_web_page_changes_nothing",),
    ),
    Breakage(
        guard="the emulator refuses what a browser sends for another site without an origin",
        file="emulator/http/callers.py",
        old="site.strip().lower() not in _OWN for site",
        new="not site for site",
        tests=(f"{_TESTS}::test_a_web_page_changes_nothing",),
    ),
    Breakage(
        guard="the emulator's own routes need JSON",
        file="emulator/http/callers.py",
        old='    if kinds != ["application/json"]:',
        new="    if kinds is None:",
        tests=(f"{_TESTS}::test_own_routes_need_json",),
    ),
)

_PRIVATE = "tests/store/test_private.py"

PRIVATE = (
    Breakage(
        guard="what is stored is for its owner only: files",
        file="jsonl.py",
        old="os.open(name, flags, 0o600)",
        new="os.open(name, flags, 0o644)",
        tests=(
            f"{_PRIVATE}::test_a_state_folder_and_those_above_it_that_were_missing",
            f"{_PRIVATE}::test_the_data_of_an_emulator",
        ),
    ),
    Breakage(
        guard="what is stored is for its owner only: folders",
        file="jsonl.py",
        old="        path.mkdir(mode=0o700)\n    except FileExistsError:",
        new="        path.mkdir()\n    except FileExistsError:",
        tests=(
            f"{_PRIVATE}::test_a_state_folder_and_those_above_it_that_were_missing",
            f"{_PRIVATE}::test_an_adopted_run",
            f"{_PRIVATE}::test_the_data_of_an_emulator",
        ),
    ),
)

_FILES = "tests/emulator/service/test_attachments.py"
_BODIES = "tests/emulator/http/test_bodies.py"
_CREDENTIALS = "tests/emulator/http/test_credentials.py"
_WHOLE = "tests/emulator/service/test_whole_uploads.py"
_REGISTERING = "tests/emulator/service/test_registering.py"

FILES = (
    Breakage(
        guard="a compressed body is inflated no further than its limit",
        file="emulator/messages/gzipped.py",
        old="    left = limit + 1\n",
        new="    left = limit + (1 << 40)\n",
        tests=(f"{_BODIES}::test_a_bomb_is_refused_at_the_limit_of_plain_bodies",),
    ),
    Breakage(
        guard="a compressed body has the limit of a plain one",
        file="emulator/http/bodies.py",
        old="        if len(body) > limit:\n",
        new="        if not coding:\n",
        tests=(f"{_BODIES}::test_a_bomb_is_refused_at_the_limit_of_plain_bodies",),
    ),
    Breakage(
        guard="compressed bytes of a file are not taken for the file",
        file="emulator/http/bodies.py",
        old="        raise unknown_coding(coding)\n",
        new="        return\n",
        tests=(f"{_WHOLE}::test_bytes_are_not_compressed",),
    ),
    Breakage(
        guard="an OAuth token serves only if that is switched on",
        file="emulator/http/callers.py",
        old="    if key or not bearer:\n",
        new="    if key:\n",
        tests=(f"{_CREDENTIALS}::test_tokens_are_refused_unless_they_are_switched_on",),
    ),
    Breakage(
        guard="an upload in one request that fails leaves nothing",
        file="emulator/service/whole_uploads.py",
        old="            if not self._done:\n",
        new="            if self._parts is None and self._done is None:\n",
        tests=(f"{_WHOLE}::test_malformed_ones_are_told_why", f"{_WHOLE}::test_a_broken_connection_leaves_nothing"),
    ),
    Breakage(
        guard="an object that is not registered fails its row in the emulator",
        file="emulator/state/attachments.py",
        old="if not self._is_registered(uri):",
        new="if not uri:",
        tests=(f"{_REGISTERING}::test_rows_with_registered_objects", f"{_FILES}::test_rows_with_files"),
    ),
    Breakage(
        guard="a key alone registers no object",
        file="emulator/state/files.py",
        old="            raise errors.no_principal()\n",
        new="            pass\n",
        tests=(f"{_REGISTERING}::test_a_key_alone_does_not_register",),
    ),
    Breakage(
        guard="a project stores no more than its quota, output files included",
        file="emulator/state/quotas.py",
        old="AND source != 'REGISTERED'",
        new="AND source = 'UPLOADED'",
        tests=("tests/emulator/service/test_files.py::test_output_files_take_up_storage",),
    ),
)

_BUILTIN = "tests/emulator/responders/test_builtin.py"

BOUNDED = (
    Breakage(
        guard="a string of a sample is not longer than the sample may be",
        file="emulator/responders/schema_samples.py",
        old='min(_count(schema.get("minLength"), 0), self.room + 1)',
        new='min(_count(schema.get("minLength"), 0), self.room // 2)',
        tests=(f"{_BUILTIN}::test_a_schema_that_asks_for_too_much_is_cut[length]",),
    ),
)

REHEARSAL = (
    Breakage(
        guard="a wrong URI of a file fails its row in the emulator",
        file="emulator/state/attachments.py",
        old="elif uri and not _FETCHED.fullmatch(uri):",
        new="elif not uri.isprintable():",
        tests=(f"{_FILES}::test_rows_with_files",),
    ),
    Breakage(
        guard="a rehearsal answers rows with files that only the service has",
        file="emulator/state/attachments.py",
        old="self._files.rehearsal and not",
        new="self._files is None and not",
        tests=(f"{_FILES}::test_rows_with_files", f"{_FILES}::test_what_cannot_be_seen_is_said_once"),
    ),
    Breakage(
        guard="in a rehearsal, a file that has expired here is gone",
        file="emulator/state/attachments.py",
        old=" and not self._files.was_here(file_id, self._owner)",
        new="",
        tests=(f"{_FILES}::test_rows_with_files", f"{_FILES}::test_what_was_uploaded_offline_is_right"),
    ),
)

_OPENAI = "tests/emulator/service/test_openai.py"

OPENAI = (
    Breakage(
        guard="rows in OpenAI's shape are refused on the native endpoint without the switch",
        file="emulator/service/batches.py",
        old="if self.openai_rows and openai_rows.has_this_shape(source):",
        new="if openai_rows.has_this_shape(source):",
        tests=(f"{_OPENAI}::test_openai_rows_on_the_native_endpoint_are_refused",),
    ),
    Breakage(
        guard="what was paid for is recorded before an output gets OpenAI's shape",
        file="emulator/engine/publishing.py",
        old='    if row["shape"] == openai_rows.SHAPE:\n        spent.note(store, row["id"], partial)\n',
        new='    if row["shape"] == openai_rows.SHAPE:\n',
        tests=(f"{_OPENAI}::test_a_batch",),
    ),
)

_CACHES = "tests/emulator/service/test_cached_contents.py"
_STREAMS = "tests/emulator/service/test_streams.py"
_TIERS = "tests/emulator/service/test_tiers.py"

CALLS = (
    Breakage(
        guard="a request is the same one by whatever tier it is served",
        file="emulator/state/calls.py",
        old='for name, value in request.items() if name != "serviceTier"}',
        new="for name, value in request.items()}",
        tests=(f"{_TIERS}::test_what_is_paid_twice",),
    ),
    Breakage(
        guard="a call that is refused for one quota counts towards none",
        file="emulator/state/rates.py",
        old="            if not violations:\n",
        new="            if len(violations) < 2:\n",
        tests=(f"{_TIERS}::test_a_quota_of_calls", f"{_TIERS}::test_quotas_over_http"),
    ),
    Breakage(
        guard="a call that is over makes room for others",
        file="emulator/http/app.py",
        old="                leave()\n",
        new="                del leave\n",
        tests=(f"{_TIERS}::test_a_caller_that_gives_up_leaves_its_place",),
    ),
    Breakage(
        guard="a cache is its project's",
        file="emulator/state/caches.py",
        old="SELECT * FROM caches WHERE id = ? AND owner = ? AND expires > ?",
        new="SELECT * FROM caches WHERE id = ? AND (owner = ? OR 1) AND expires > ?",
        tests=(f"{_CACHES}::test_what_is_kept",),
    ),
    Breakage(
        guard="a row whose cache has expired fails",
        file="emulator/state/caches.py",
        old='if cache.row["expires"] <= at:',
        new='if cache.row["expires"] < 0:',
        tests=(f"{_CACHES}::test_a_cache_that_cannot_be_used", f"{_CACHES}::test_a_late_job"),
    ),
    Breakage(
        guard="a row whose cache is missing does not reach a responder early",
        file="emulator/engine/work.py",
        old='prompts.check(self._row["model"], request, at=self._run_at(at["row"]))',
        new="str(request)",
        tests=(f"{_CACHES}::test_a_responder_sees_the_whole_prompt",),
    ),
    Breakage(
        guard="in a rehearsal, a cache that has ended here is gone",
        file="emulator/state/caches.py",
        old=" and not self._caches.was_here(_id(name), self._owner)",
        new="",
        tests=(f"{_CACHES}::test_a_cache_that_only_the_service_has",),
    ),
    Breakage(
        guard="the content of a cache is not swept away",
        file="emulator/state/store.py",
        old="                UNION SELECT blob FROM caches",
        new="",
        tests=(f"{_CACHES}::test_what_is_kept",),
    ),
    Breakage(
        guard="the content of a cache stays while a job may need it",
        file="emulator/state/caches.py",
        old="WHERE owner = caches.owner AND state IN",
        new="WHERE id = caches.id AND state IN",
        tests=(f"{_CACHES}::test_the_content_of_old_caches_is_removed",),
    ),
    Breakage(
        guard="an event of a stream is one line for every reader",
        file="emulator/messages/streams.py",
        old=".sub(lambda found:",
        new=".sub(lambda found: found[0] or",
        tests=(f"{_STREAMS}::test_an_event_is_one_line",),
    ),
)
