"""What the answer to a create means: an error with what to do next, or a description of some other job."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini_batch.api.trouble import Trouble, meaning, too_large
from gemini_batch.errors import ApiError, Next, ServiceError
from gemini_batch.report.next_steps import costing
from gemini_batch.vertex_place import is_vertex
from gemini_batch.wire import contradiction

if TYPE_CHECKING:
    from gemini_batch.store.ledger.records import Job, Run
    from gemini_batch.wire import RemoteJob


def differs(job: Job, remote: RemoteJob) -> str | None:
    """How the answer to a create contradicts what was sent: then it is another job's, and this create is in doubt."""
    file = job.file if job.input_kind == "file" else None
    return contradiction(remote, file=file, model=job.model, display_name=job.display_name, requests=job.requests)


def explained(run: Run, job: Job, error: ServiceError) -> ServiceError:
    """The error of a create that certainly created no job, with what to do next."""
    match meaning(error):
        case Trouble.ABSENT if isinstance(error, ApiError):
            return ApiError(
                f"The service cannot run a batch with {job.model}: {error.message}",
                status=error.status,
                reason=error.reason,
                code="model_refused",
                next=Next("models", why="lists the models to choose from with --model; no job was created"),
            )
        case Trouble.NOT_SENT:
            error.next = "No job was created. Run the same command again; nothing is uploaded twice."
        case Trouble.BAD_REQUEST if too_large(error):
            why = "sends the requests in smaller jobs; no job was created"
            smaller = Next("run", run.id, why=costing(run, why))
            error.next = smaller if job.requests > 1 else "No job was created. Make the request smaller."
        case Trouble.BAD_REQUEST:
            error.next = error.next or "No job was created. Fix what the service names, then run the command again."
        case Trouble.WITHDRAWN if job.file is not None and job.file.removeprefix("files/") in error.message:
            error.next = (
                "The service says that the uploaded file is gone, or belongs to the project of another key. No job was "
                "created. Check the key, then run the same command again; it uploads the file again if it is gone."
            )
        case Trouble.WITHDRAWN if is_vertex(run.backend):
            error.next = error.next or (
                "No job was created. Grant the role Vertex AI User (roles/aiplatform.user) in the project to the "
                "credentials of this machine."
            )
        case Trouble.WITHDRAWN | Trouble.BILLING:
            error.next = error.next or (
                Next(
                    "models", why="lists the models; the key may have no access to this one, or its project no billing"
                )
            )
        case _:
            pass
    return error
