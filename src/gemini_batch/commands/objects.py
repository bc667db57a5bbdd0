"""What a verb takes and gives in buckets: local files stand in for objects while it works."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar

from gemini_batch.api.vertex.credentials import application_default
from gemini_batch.errors import Error, UsageError
from gemini_batch.events import EventHandler, Transfer, in_thread
from gemini_batch.jsonl import private_folder
from gemini_batch.objects import names
from gemini_batch.objects.address import is_address, is_pattern, is_table, needs_name, parse
from gemini_batch.objects.bigquery.policy import parse_table
from gemini_batch.objects.bigquery.service import BigQuery
from gemini_batch.objects.bigquery.stand_ins import StandIns
from gemini_batch.objects.lock import ObjectLock, check_locks, holding
from gemini_batch.objects.mirror import Mirror
from gemini_batch.report.output_files import failures_file
from gemini_batch.report.result_set import Results
from gemini_batch.store.sqlite import state_error
from gemini_batch.world import World

if TYPE_CHECKING:
    from collections.abc import Callable

    from gemini_batch.intake.table_options import TableOptions
    from gemini_batch.objects.address import Address
    from gemini_batch.session import Session

T = TypeVar("T")


class Objects:
    """Objects of one call of a verb. Use as an async context manager: at its end, what was written is put into its
    bucket, if nothing was raised; errors name addresses.

    ``session``: what the verb works with, if it has any; without one, there are no locks.
    """

    def __init__(self, session: Callable[[], Session] | None, emit: EventHandler) -> None:
        self._session, self._emit = session, emit
        self._mirror: Mirror | None = None
        self._tables: StandIns | None = None
        self._folder: Path | None = None
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: object, error: BaseException | None, _: object) -> None:
        try:
            try:
                if error is None and self._mirror is not None:
                    await check_locks()
                    await self._done(self._mirror.put_all)
                if error is None and self._tables is not None:
                    await check_locks()
                    await self._done(self._tables.put_all)
            except BaseException as late:  # also of a lock that was lost meanwhile
                error = late
                raise
            finally:
                if isinstance(error, Error):
                    names.rename_error(error)
        finally:
            await self._stack.__aexit__(type(error) if error else None, error, error.__traceback__ if error else None)

    @property
    def mirror(self) -> Mirror:
        """The files, in a private folder. Raises StateError."""
        if self._mirror is None:
            self._mirror = self.add(Mirror(self._place() / "objects"))
        return self._mirror

    @property
    def tables(self) -> StandIns:
        """The files that stand in for tables, in a private folder. Raises StateError."""
        if self._tables is None:
            folder = self._place() / "tables"
            private_folder(folder)
            now = World().now if self._session is None else self._session().world.now
            self._tables = StandIns(folder, BigQuery(lambda: application_default()[0]), now)
            self._stack.callback(self._tables.close)
        return self._tables

    def _place(self) -> Path:
        """The private folder of all files. Raises StateError."""
        if self._folder is None:
            if self._session is None:
                folder = tempfile.TemporaryDirectory(prefix="gemini-batch-objects-")
                self._folder = Path(self._stack.enter_context(folder))
            else:
                session = self._session()
                self._folder = self._stack.enter_context(session.state_folder.staging(session.world.token(8))).path
        return self._folder

    def add(self, mirror: Mirror) -> Mirror:
        """Let files stand in for objects until the end."""
        self._stack.callback(mirror.close)
        return mirror

    async def read(self, what: str, options: TableOptions | None = None, *, field: str | None = None) -> str:
        """The path of a file with what an address names: an object, or several by a pattern, as a table; or a table of
        BigQuery. ``options``: what is asked of a table; None where only a request file can be read.

        Raises UsageError, ServiceError, StateError.
        """
        if options is not None and is_table(what):
            return await self._read_table(what, options)
        name, part = what, ""
        if "::" in what:
            name, _, part = what.rpartition("::")
        address = needs_name(parse(name, field=field), field=field)
        if is_pattern(address):
            found = await self._done(lambda told: self.mirror.fetch_all(address, told))
        else:
            found = await self._done(lambda told: self.mirror.fetch(address, told))
        return f"{found}::{part}" if part else str(found)

    async def write(self, what: str, *, field: str = "--output", lock: bool = True) -> str:
        """The path of a file that becomes the object, with what this holds now.

        ``lock``: these are results; that of failures next to them becomes an object, too, and until the end, no other
        process may work on them. Raises StateError if one does, UsageError,
        ServiceError.
        """
        if lock and is_table(what):
            return await self._write_table(what, field)
        address = needs_name(parse(what, field=field), field=field)
        if what.endswith("/") or (address.is_local and Path("/", address.name).is_dir()):
            raise UsageError(
                "The address names a folder.", field=field, file=what, code="bad_output", next="Name an object in it."
            )
        if lock:
            await self.hold(address.sibling(f"{address.file_name}.lock"))
        path = await self._done(lambda told: self.mirror.fetch_to_write(address, told))
        if lock:
            if (failed := failures_file(path)) is not None:
                other = address.sibling(failed.name)
                await self._done(lambda told: self.mirror.fetch_to_write(other, told))
            await self._done(lambda told: self.mirror.fetch_list_of_media(path, told))
        return str(path)

    async def _read_table(self, what: str, options: TableOptions) -> str:
        from gemini_batch.intake.table_options import needed_table
        from gemini_batch.tables.making.recipe import make_recipe

        address, key = parse_table(what), make_recipe(needed_table(what, options).asked).key
        if not key:
            raise UsageError(
                "The rows of a table of BigQuery have no order, so a key has to tell which one is which.",
                file=what,
                field="--key",
                code="no_key",
                next="Name the column that identifies a row: --key id.",
            )
        return str(await self._done(lambda told: self.tables.fetch(address, key, told), "rows"))

    async def _write_table(self, what: str, field: str) -> str:
        assert self._session is not None
        address = parse_table(what, field=field)
        note = self._stack.enter_context(self._session().state_folder.place_in_bucket(str(address)))
        return str(await self._done(lambda _: self.tables.fetch_to_write(address, note)))

    @staticmethod
    def place(what: str) -> Address | None:
        """The place in a bucket that is to be a folder; None for a folder on this machine. Raises UsageError."""
        return parse(what, field="--output") if is_address(what) else None

    async def hold(self, address: Address) -> None:
        """Hold a lock until the end. Raises StateError if another process has it, UsageError, ServiceError."""
        assert self._session is not None
        session = self._session()
        note = self._stack.enter_context(session.state_folder.place_in_bucket(str(address)))
        lock = ObjectLock(address, session.world, note)
        await self._stack.enter_async_context(holding(lock, session.world))

    async def _done(
        self, work: Callable[[Callable[[str, int, int], object]], T], unit: Literal["bytes", "rows"] = "bytes"
    ) -> T:
        def told(emit: EventHandler) -> T:
            return work(lambda what, done, total: emit(Transfer(what, done, total, unit)))  # type: ignore[arg-type]

        try:
            return await in_thread(told, self._emit)
        except OSError as error:
            raise state_error(error, self.mirror.folder, "copy of an object") from error


def shown(found: T) -> T:
    """What a verb found, with addresses instead of the files that stood in for objects."""
    if isinstance(found, Results):
        return dataclasses.replace(found, summary=names.renamed(found.summary))
    return names.renamed(found)


def refuse_folder(option: str, given: Any) -> None:
    """Refuse an address where only a folder on this machine can be used. Raises UsageError."""
    if is_address(given):
        raise UsageError(
            "Many files can only be written to a folder on this machine.",
            field=option,
            code="bad_address",
            next="Name a folder, and copy it afterwards.",
        )
