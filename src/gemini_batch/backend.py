"""Turns settings into a Service: the Gemini Developer API, Vertex AI, or the emulator.

The engine uses only the :class:`Service` protocol.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

from gemini_batch.api.trouble import Trouble, meaning
from gemini_batch.errors import ApiError
from gemini_batch.settings import Secret
from gemini_batch.vertex_place import on_this_machine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from pathlib import Path

    import msgspec

    from gemini_batch.api.calls import Called
    from gemini_batch.api.client import Client
    from gemini_batch.api.files import ReadAt
    from gemini_batch.api.vertex.credentials import Tokens
    from gemini_batch.catalog import Method
    from gemini_batch.settings import Settings
    from gemini_batch.vertex_place import VertexPlace
    from gemini_batch.wire import Operation, RemoteFile, RemoteModel
    from gemini_batch.world import World

#: Replaces the backend's address in identities and in the ledger of the offline state folder: the emulator's port
#: changes with every command, its data does not.
OFFLINE = "offline"
_OFFLINE_KEY = "offline"
#: What the official SDK uses at Vertex AI.
VERTEX_VERSION = "v1beta1"


class Service(Protocol):
    """What a run needs from a batch service. Every method raises ApiError, NetworkError or ServiceError.

    Nothing here deletes a job, or what a job wrote: that belongs to the user, and its folder is named by the service.
    """

    def new_name(self, token: str, *, mime_type: str | None) -> str:
        """The name of a file that is about to be uploaded, which says where it will be."""
        ...

    def is_kept_here(self, name: str) -> bool:
        """Whether a file of that name is where files are uploaded to now."""
        ...

    async def start_upload(self, *, name: str, display_name: str, size: int, mime_type: str | None = None) -> str:
        """Open an upload session for the file ``name``; returns the URL that :meth:`send_upload` needs.

        ``mime_type``: None for request lines.
        """
        ...

    async def query_upload(self, session: str) -> tuple[str, int]:
        """Query a session: its status and the number of bytes received."""
        ...

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
        """Send the rest of the bytes and finalize; None if the description of the file was lost."""
        ...

    async def get_file(self, name: str) -> RemoteFile: ...

    async def delete_file(self, name: str) -> None: ...

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
        """Create one job; sent exactly once."""
        ...

    async def call(self, *, model: str, method: Method, request: bytes) -> Called:
        """Send one request as a call of its own, once, with the service tier *flex*."""
        ...

    async def get(self, name: str, *, server_timeout: int | None = None) -> Operation: ...

    def listing(self) -> AsyncIterator[list[Operation]]:
        """List all jobs, page by page."""
        ...

    async def cancel(self, name: str) -> None: ...

    async def download(self, name: str, part: Path, *, progress: Callable[[int, int | None], None]) -> int:
        """Download a result file, continuing after the bytes in ``part``; returns its size in bytes."""
        ...

    async def get_model(self, name: str) -> RemoteModel: ...

    async def count_tokens(self, name: str, request: bytes, *, embeds: bool) -> int: ...


class GeminiService:
    """The Gemini Developer API as a :class:`Service`."""

    def __init__(self, client: Client) -> None:
        from gemini_batch.api import batches, calls, files, models

        self.query_upload = partial(files.query_upload, client)
        self.get_file = partial(files.get, client)
        self.delete_file = partial(files.delete, client)
        self.create = partial(batches.create, client)
        self.call = partial(calls.call, client)
        self.get = partial(batches.get, client)
        self.listing = partial(batches.listing, client)
        self.cancel = partial(batches.cancel, client)
        self.download = partial(files.download, client)
        self.get_model = partial(models.get, client)
        self.count_tokens = partial(models.count_tokens, client)
        self._start = partial(files.start_upload, client)
        self._send = partial(files.send_upload, client)
        self._mime_types = list(files.MIME_TYPES)

    def new_name(self, token: str, *, mime_type: str | None) -> str:  # noqa: ARG002 - one kind of name for all files
        """``files/gb-…``."""
        return f"files/gb-{token}"

    def is_kept_here(self, name: str) -> bool:  # noqa: ARG002 - all files of a key are in one place
        """Always."""
        return True

    async def start_upload(self, *, name: str, display_name: str, size: int, mime_type: str | None = None) -> str:
        """Open a session; if the service refuses the MIME type of request lines, try its next spelling."""
        name = name.removeprefix("files/")
        if mime_type is not None:
            return await self._start(name=name, display_name=display_name, mime_type=mime_type, size=size)
        while True:
            mime_type = self._mime_types[0]
            try:
                return await self._start(name=name, display_name=display_name, mime_type=mime_type, size=size)
            except ApiError as error:
                if not self._turn_to_next_type(error):
                    raise

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
        """Send the rest. Raises SessionLost if the MIME type is refused only now and there is another to try."""
        from gemini_batch.api.files import SessionLost

        try:
            return await self._send(session, read_at, size=size, offset=offset, progress=progress)
        except ApiError as error:
            if mime_type is None and self._turn_to_next_type(error):
                raise SessionLost(error.message) from error
            raise

    def _turn_to_next_type(self, error: ApiError) -> bool:
        """Whether a MIME type was refused and there is another spelling, which is used from now on."""
        refused = meaning(error) is Trouble.BAD_REQUEST and "mime" in error.message.lower()
        if not refused or len(self._mime_types) == 1:
            return False
        del self._mime_types[0]
        return True


@dataclass(frozen=True, slots=True)
class Backend:
    """An open service with what identifies it: its address (or ``offline``) and the API key used."""

    address: str
    #: Removed from what is downloaded. Empty at Vertex AI: tokens change every hour, and no answer can hold one.
    key: Secret
    service: Service


def address_of(settings: Settings) -> str:
    """What identifies the backend: the base URL, the place of Vertex AI, or ``offline``."""
    if settings.offline:
        return OFFLINE
    return settings.base_url if settings.vertex is None else settings.vertex.address


def key_of(settings: Settings) -> Secret:
    """The API key for the backend, or what takes its place. Raises UsageError if a key is needed and there is none."""
    if settings.offline:
        return Secret(_OFFLINE_KEY)
    return settings.require_key() if settings.vertex is None else Secret(settings.vertex.scope)


def held_offline(emulator_data: Path) -> frozenset[str]:
    """The ids of the files and the names of the caches that the emulator of offline work has."""
    from gemini_batch.emulator.responders.builtin import respond
    from gemini_batch.emulator.service.core import Emulator

    if not emulator_data.is_dir():
        return frozenset()
    with contextlib.closing(Emulator(emulator_data, respond)) as emulator:
        project = emulator.store.project(_OFFLINE_KEY)
        return emulator.files.ids(project) | emulator.caches.names(project)


@contextlib.asynccontextmanager
async def open_backend(settings: Settings, *, emulator_data: Path, world: World) -> AsyncIterator[Backend]:
    """Open the service that the settings name; offline, the emulator serves on loopback until the context exits."""
    from gemini_batch.api.client import Client

    key = key_of(settings)
    if settings.vertex is not None:
        async with _open_vertex(settings.vertex, world=world) as service:
            yield Backend(address_of(settings), Secret(""), service)
        return
    with contextlib.ExitStack() as stack:
        base_url, version = settings.base_url, settings.api_version
        if settings.offline:
            from gemini_batch.emulator.http.server import serve

            # What may be sent was decided when the file was checked.
            opened = stack.enter_context(serve(emulator_data, rehearsal=True, lenient=True))
            base_url, version = opened.url, "v1beta"
        async with Client(base_url, key, world=world, version=version) as client:
            yield Backend(address_of(settings), key, GeminiService(client))


@contextlib.asynccontextmanager
async def _open_vertex(place: VertexPlace, *, world: World) -> AsyncIterator[Service]:
    from gemini_batch.api.client import Client
    from gemini_batch.api.vertex.credentials import NoTokens, Tokens
    from gemini_batch.api.vertex.service import VertexService

    def connect(url: str, tokens: Tokens) -> Client:
        # A real token is never sent to what answers on this machine.
        return Client(url, NoTokens() if on_this_machine(url) else tokens, world=world, version=VERTEX_VERSION)

    tokens = Tokens()
    if not (on_this_machine(place.url) and on_this_machine(place.storage_url)):
        await tokens.find()  # that there are none is said before anything is done
    async with connect(place.url, tokens) as client, connect(place.storage_url, tokens) as bucket:
        yield VertexService(place, client, bucket)
