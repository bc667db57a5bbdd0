"""Guards of attachments: what is read here, what is uploaded, and what a job names."""

from __future__ import annotations

from mutation.breakage import Breakage

CELLS = "tests/tables/test_attachments.py"
SENT = "tests/engine/attachments/test_uploads.py"
GONE = "tests/engine/attachments/test_gone.py"
STAGED = "tests/foundation/test_attached_lines.py"

ATTACHMENTS = (
    Breakage(
        guard="no attachment outside the table's folder and the allowed ones is opened",
        file="tables/making/attachments.py",
        old="if not any(path.is_relative_to(root) for root in self._roots):",
        new="if not self._roots:",
        tests=(f"{CELLS}::test_nothing_outside_is_opened", f"{CELLS}::test_other_folders_can_be_allowed"),
    ),
    Breakage(
        guard="links are followed before an attachment's place is judged",
        file="tables/making/attachments.py",
        old="path = Path(os.path.realpath(self._folder / cell))",
        new="path = Path(os.path.abspath(self._folder / cell))",
        tests=(f"{CELLS}::test_nothing_outside_is_opened",),
    ),
    Breakage(
        guard="a folder that is replaced by a link after the check is noticed",
        file="tables/making/local_files.py",
        old="if not same or os.path.realpath(path) != str(path):",
        new="if not same:",
        tests=(f"{CELLS}::test_a_link_that_appears_after_the_check_is_not_followed",),
    ),
    Breakage(
        guard="only regular files are opened",
        file="tables/making/local_files.py",
        old="if not stat.S_ISREG(status.st_mode):",
        new="if stat.S_ISLNK(status.st_mode):",
        tests=(f"{CELLS}::test_what_is_no_file_does_not_block", f"{CELLS}::test_a_device_is_not_opened"),
    ),
    Breakage(
        guard="a file is uploaded under the name that was recorded before",
        file="engine/uploads/transfer.py",
        old="name=self._record.name,",
        new="name=self._service.new_name(self._session.world.token(20), mime_type=self._content.mime_type),",
        tests=(f"{SENT}::test_a_hundred_rows_share_three_uploads",),
    ),
    Breakage(
        guard="an attachment that was changed is not uploaded",
        file="engine/uploads/attachments.py",
        old="!= file.sha256:",
        new="== file.path:",
        tests=(f"{SENT}::test_a_file_that_is_not_what_it_was_is_not_sent",),
    ),
    Breakage(
        guard="nothing more is sent of an attachment that changes during its upload",
        file="engine/uploads/attachments.py",
        old="if mark_of(original) != mark:",
        new="if mark_of(original) is None:",
        tests=(f"{SENT}::test_a_file_that_changes_during_the_upload_is_not_used",),
    ),
    Breakage(
        guard="an attachment that is about to expire is uploaded again before a job is created",
        file="engine/uploads/held.py",
        old="return ends - at >= min(FRESH, (ends - self.uploaded_at) / 2)",
        new="return ends > at",
        tests=(f"{SENT}::test_what_expires_is_renewed_before_the_job_is_created",),
    ),
    Breakage(
        guard="a job is created only when its attachments were processed",
        file="engine/uploads/attachments.py",
        old='while found is not None and found.state == "uploaded":',
        new="while found is None:",
        tests=(f"{SENT}::test_a_file_that_is_processing_is_waited_for",),
    ),
    Breakage(
        guard="an attachment that a job needs is not deleted",
        file="engine/uploads/held.py",
        old='WHERE name = ? AND NOT {_USED}"',
        new='WHERE name = ? AND NOT (0 AND {_USED})"',
        tests=(f"{GONE}::test_a_file_that_a_job_has_just_taken_is_not_deleted",),
    ),
    Breakage(
        guard="an upload that another run has begun is not continued",
        file="engine/uploads/held.py",
        old="AND deleted_at IS NULL AND (state IN ('uploaded', 'active') OR run = ?) \"",
        new='AND deleted_at IS NULL AND (1 OR run = ?) "',
        tests=(f"{GONE}::test_an_upload_that_another_run_has_begun_is_left_alone",),
    ),
    Breakage(
        guard="a request file cannot name attachments by placeholders",
        file="validation/contents.py",
        old="if type(uri) is str and found.prepared and is_placeholder(uri):",
        new="if type(uri) is str and is_placeholder(uri):",
        tests=(f"{STAGED}::test_a_request_file_cannot_name_attachments",),
    ),
    Breakage(
        guard="prepared requests name only attachments that were prepared with them",
        file="intake/checking.py",
        old=" and self._check.attachments.issuperset(there)",
        new="",
        tests=(f"{STAGED}::test_only_prepared_attachments_are_known",),
    ),
    Breakage(
        guard="rows with attachments are the same for every key",
        file="memory/fingerprint.py",
        old="[name for name in references_of(request) if not is_placeholder(name)]",
        new="list(references_of(request))",
        tests=(f"{STAGED}::test_an_attachment_counts_by_its_content",),
    ),
)
