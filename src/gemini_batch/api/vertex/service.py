"""Vertex AI as the batch service of a run: uploads go to Cloud Storage, jobs are batch prediction jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from gemini_batch.api.trouble import Trouble, meaning
from gemini_batch.api.vertex import jobs, storage
from gemini_batch.catalog import Method
from gemini_batch.errors import ApiError, ServiceError, UsageError
from gemini_batch.jsonl import private_open
from gemini_batch.wire import Operation, RemoteFile, RemoteModel

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
    from pathlib import Path

    import msgspec

    from gemini_batch.api.calls import Called
    from gemini_batch.api.client import Client
    from gemini_batch.api.files import ReadAt
    from gemini_batch.vertex_place import VertexPlace

_LINES = "application/jsonl"

T = TypeVar("T")


class VertexService:
    """Batch prediction in one place, as a :class:`~gemini_batch.backend.Service`.

    ``client`` asks Vertex AI, ``bucket`` Cloud Storage. Errors name Vertex AI's own limits where they differ.
    """

    def __init__(self, place: VertexPlace, client: Client, bucket: Client) -> None:
        self._place, self._client, self._bucket = place, client, bucket
        self._parent = f"projects/{place.project}/locations/{place.location}"

    # Files -----------------------------------------------------------------------------------------------------------

    def new_name(self, token: str, *, mime_type: str | None) -> str:
        """``gs://…``, in the bucket that is named now."""
        return f"{self._folder()}/gb-{token}{'.jsonl' if mime_type is None else ''}"

    def is_kept_here(self, name: str) -> bool:
        """Whether an object is in the folder that is named now; one that was recorded without a bucket may be."""
        return name.startswith("files/") or name.rpartition("/")[0] == self._folder()

    def _folder(self) -> str:
        bucket, folder = self._place.bucket_and_folder()
        return f"gs://{bucket}/{folder}"

    def _uri(self, name: str) -> str:
        """The object that a file of request lines is. Names that were recorded earlier say ``files/…``."""
        return f"{self._folder()}/{name.removeprefix('files/')}.jsonl" if name.startswith("files/") else name

    async def _asked(self, name: str, ask: Callable[[str, str], Awaitable[T]]) -> T:
        """Ask for the object of a file. Raises ApiError if it is not there."""
        uri = self._uri(name)
        try:
            return await ask(*storage.split_uri(uri))
        except ApiError as error:
            if uri == name or not meaning(error).not_shown:
                raise
            return await ask(*storage.split_uri(uri.removesuffix(".jsonl")))  # an attachment

    async def start_upload(self, *, name: str, display_name: str, size: int, mime_type: str | None = None) -> str:
        """Open an upload session; an object has no display name."""
        bucket, stored = storage.split_uri(self._uri(name))
        try:
            return await storage.start_upload(self._bucket, bucket, stored, size=size, mime_type=mime_type or _LINES)
        except ApiError as error:
            if not meaning(error).not_shown:
                raise
            absent = meaning(error) is Trouble.ABSENT
            raise ApiError(
                f"The bucket gs://{bucket} does not exist."
                if absent
                else f"These credentials may not write to the bucket gs://{bucket} ({error.status}).",
                status=error.status,
                reason=error.reason,
                code="bucket_refused",
                next=f"Create it{self._place.within(' in {}')}, or name another one with --bucket."
                if absent
                else "Grant the role Storage Object User on it, also to the service agent of Vertex AI.",
            ) from error

    async def query_upload(self, session: str) -> tuple[str, int]:
        """The status of a session, and how many bytes have arrived."""
        return await storage.query_upload(self._bucket, session)

    async def send_upload(
        self,
        session: str,
        read_at: ReadAt,
        *,
        size: int,
        offset: int,
        progress: Callable[[int], None],
        mime_type: str | None = None,
    ) -> RemoteFile | None:
        """Send the rest."""
        stored = await storage.send_upload(self._bucket, session, read_at, size=size, offset=offset, progress=progress)
        return None if stored is None else self._file(stored)

    def _file(self, stored: storage.StoredObject) -> RemoteFile:
        uri = f"gs://{stored.bucket}/{stored.name}"
        return RemoteFile(
            name=uri,
            mime_type=stored.content_type,
            size_bytes=stored.size,
            md5_hash=stored.md5_hash,
            create_time=stored.time_created,
            state="ACTIVE",
            uri=uri,
        )

    async def get_file(self, name: str) -> RemoteFile:
        """An uploaded object. Raises ApiError 404."""

        async def ask(bucket: str, stored: str) -> RemoteFile:
            return self._file(await storage.get(self._bucket, bucket, stored))

        return await self._asked(name, ask)

    async def delete_file(self, name: str) -> None:
        """Delete an uploaded object. Raises ApiError 404."""

        async def ask(bucket: str, stored: str) -> None:
            await storage.delete(self._bucket, bucket, stored)

        await self._asked(name, ask)

    async def download(self, name: str, part: Path, *, progress: Callable[[int, int | None], None]) -> int:
        """Download all files of lines that a job wrote below the directory ``name``; returns their size."""
        bucket, folder = storage.split_uri(name)
        found = await storage.listing(self._bucket, bucket, f"{folder.rstrip('/')}/")
        written = jobs.answer_files(found)
        if not written:  # a job that ended before its first answer has written none
            with private_open(part, "wb"):
                pass
            return 0
        return await storage.download(self._bucket, written, part, progress=progress)

    # Jobs ------------------------------------------------------------------------------------------------------------

    async def create(
        self,
        *,
        model: str,
        method: Method,
        display_name: str,
        file_name: str | None = None,
        requests: Sequence[tuple[str, msgspec.Raw]] | None = None,
        webhook_url: str | None = None,
    ) -> Operation:
        """Create one job from an uploaded file; sent exactly once."""
        assert file_name is not None and method is Method.GENERATE  # noqa: PT018 - the rest was refused before
        source = self._uri(file_name)
        await self._check_there(source)
        return await jobs.create(
            self._client,
            self._parent,
            model=model,
            display_name=display_name,
            source=source,
            prefix=source.removesuffix(".jsonl"),
        )

    async def _check_there(self, source: str) -> None:
        """Refuse to create a job without its input: it was deleted.

        The service would accept such a job and fail it, and its requests with it. Raises ApiError 404, on which the
        input is uploaded again. Where the check itself fails, the service finds out.
        """
        try:
            await storage.get(self._bucket, *storage.split_uri(source))
        except ServiceError as error:
            if meaning(error) is Trouble.ABSENT:
                raise

    async def get(self, name: str, *, server_timeout: int | None = None) -> Operation:
        """Get one job by its whole name."""
        return await jobs.get(self._client, name)

    def listing(self) -> AsyncIterator[list[Operation]]:
        """List all jobs of the location, page by page."""
        return jobs.listing(self._client, self._parent)

    async def cancel(self, name: str) -> None:
        """Ask the service to stop a job."""
        await jobs.cancel(self._client, name)

    # What is not served ----------------------------------------------------------------------------------------------

    async def call(self, *, model: str, method: Method, request: bytes) -> Called:
        """Calls with the tier flex are not made at Vertex AI. Raises UsageError."""
        raise UsageError(
            "Requests are sent to Vertex AI in batches only.",
            field="--via",
            code="not_at_vertex",
            next="Leave out --via, or use --backend gemini.",
        )

    async def get_model(self, name: str) -> RemoteModel:
        """Vertex AI describes no model of a publisher to a project. Raises ServiceError."""
        raise ServiceError("Vertex AI is not asked for models.", code="not_at_vertex")

    async def count_tokens(self, name: str, request: bytes, *, embeds: bool) -> int:
        """Tokens are not counted at Vertex AI. Raises UsageError."""
        raise UsageError(
            "Tokens are not counted at Vertex AI.",
            code="not_at_vertex",
            next="Leave out the count: the estimate is made from the text. Or use --backend gemini.",
        )
