"""What the backend permits: by what requests are judged, and what a run cannot have there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini_batch import catalog
from gemini_batch.catalog import Method
from gemini_batch.errors import Next, UsageError
from gemini_batch.report.next_steps import costing
from gemini_batch.store.rows.labels import LABEL_BYTES
from gemini_batch.validation.conform import Terms
from gemini_batch.vertex_place import is_vertex

if TYPE_CHECKING:
    from gemini_batch.session import Session
    from gemini_batch.store.ledger.records import Run
    from gemini_batch.store.rows.row_records import Waiting


#: What the service's envelope adds to each inline request; its exact size depends on the key.
_INLINE_OVERHEAD = 64


def terms_of(session: Session, model: str, *, check: bool, lenient: bool) -> Terms:
    """By what requests are judged. ``model``: that is to answer; its own rules count if it is known and ``check``."""
    return Terms(model if check else "", lenient, vertex=session.settings.vertex is not None)


def check_possible(run: Run, *, inline: bool = False, via: str | None = None) -> None:
    """Refuse what Vertex AI does not do, or what is not done there. Raises UsageError."""
    if not is_vertex(run.backend):
        return
    for asked, option, what in (
        (run.method is Method.EMBED, None, "Embeddings are not sent to Vertex AI"),
        (inline, "--inline", "Vertex AI reads requests from a file only"),
        (
            via not in {None, "batch"},
            "--via",
            "Requests are sent to Vertex AI in batches only, so nothing is done --via flex",
        ),
    ):
        if asked:
            raise UsageError(
                f"{what}.",
                field=option,
                code="not_at_vertex",
                next=f"Leave out {'--via and --finish-via' if option == '--via' else option}, or use --backend gemini."
                if option
                else "Use --backend gemini.",
            )


def check_size(run: Run, waiting: Waiting, named: str, *, inline: bool) -> None:
    """Refuse what waits if it is too much for one job; ``named``: the file or table. Raises UsageError."""
    limits = catalog.load().limits
    if inline:
        size = waiting.bytes + waiting.requests * _INLINE_OVERHEAD
        body = limits.inline_body_bytes.value
        if size > body:
            raise UsageError(
                f"{size:,} bytes are too many to send inline; the service accepts {body:,}.",
                file=named,
                code="too_large",
                next="Leave out --inline: a file may be up to 2 GB.",
            )
        return
    vertex = is_vertex(run.backend)
    most = limits.of_job(vertex=vertex)
    size = waiting.bytes + (waiting.requests * LABEL_BYTES if vertex else 0)
    for count, limit, unit in ((size, most.bytes, "bytes"), (waiting.requests, most.requests, "requests")):
        if limit is not None and count > limit:
            raise UsageError(
                f"{count:,} {unit} exceed the limit for the file of one job ({limit:,}).",
                file=named,
                code="too_large",
                next=Next("run", run.id, why=costing(run, "sends it as several jobs")),
            )
