"""One stretch of work on one batch: input lines in, output lines out, up to a row or a deadline."""

from __future__ import annotations

import itertools
import os
from functools import partial
from typing import IO, TYPE_CHECKING

import msgspec

from gemini_batch import jsonl
from gemini_batch.emulator.engine import lines, terms
from gemini_batch.emulator.engine.prefetch import Concurrent, Prefetch
from gemini_batch.emulator.faults import rows
from gemini_batch.emulator.messages.errors import ApiFailure
from gemini_batch.emulator.state import models
from gemini_batch.emulator.state.attachments import Attachments
from gemini_batch.emulator.state.caches import CachedPrompts
from gemini_batch.emulator.state.clock import SECOND
from gemini_batch.errors import RowError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable
    from typing import Any

    from gemini_batch.emulator.engine.parts import Parts

#: Seconds between two checkpoints: the most work that a killed process repeats.
_CHECKPOINT = 0.2
_BUFFER = 1 << 20
_CANCELLED_ROW = RowError(1)
_TOKENS = ("prompt_tokens", "cached_tokens", "output_tokens")

_encode = msgspec.json.Encoder().encode


class Work:
    """One stretch of work on one batch: from its checkpoint to ``target`` or to the deadline."""

    def __init__(self, engine: Parts, row: sqlite3.Row, target: int, deadline: float) -> None:
        self._engine = engine
        self.store = engine.store
        self._row = row
        self._target = target
        self._deadline = deadline
        self._kind: models.Kind = row["kind"]
        self._tag: lines.Tag = "key" if row["input_file"] else "metadata"
        self._at = {
            name: int(row[name]) for name in ("row", "in_offset", "out_offset", "succeeded", "failed", *_TOKENS)
        }
        self._prefetch: Prefetch | None = None

    def run(self) -> bool:
        """Serve rows; False if the output is shorter than its checkpoint.

        Raises :class:`ApiFailure` if the model is gone.
        """
        row, engine = self._row, self._engine
        partial = engine.store.partial(row["id"])
        jsonl.private_open(partial, "ab").close()
        with (
            self.store.blob(row["input_blob"]).open("rb", buffering=_BUFFER) as source,
            partial.open("r+b", buffering=_BUFFER) as output,
        ):
            if output.seek(0, os.SEEK_END) < self._at["out_offset"]:
                return False
            output.seek(self._at["out_offset"])
            output.truncate()
            source.seek(self._at["in_offset"])
            serve = self._server(source)
            while self._at["row"] < self._target:
                self._serve_until(min(self._deadline, engine.monotonic() + _CHECKPOINT), source, output, serve)
                output.flush()
                if not self._checkpoint() or engine.monotonic() >= self._deadline or engine.stop.is_set():
                    break
        return True

    def _serve_until(self, pause: float, source: IO[bytes], output: IO[bytes], serve: Callable[[bytes], bytes]) -> None:
        at, target, cut = self._at, self._target, self._row["cut"]
        stop = self._engine.stop
        clock = self._engine.monotonic
        number, read, wrote = at["row"], 0, 0
        prefetch = self._prefetch
        following = prefetch or source
        while number < target:
            if prefetch is not None and not prefetch.ready(pause - clock()):
                break
            data = following.readline()
            if not data:
                raise ApiFailure(500, "INTERNAL", "The input ended before its last row.")
            read += len(data)
            if not data.strip():
                continue
            if cut is not None and number >= cut:
                answer = self._refused(_CANCELLED_ROW, lines.tag_of(data, self._tag))
            else:
                answer = serve(data)
            output.write(answer)
            wrote += len(answer)
            number += 1
            if clock() >= pause or stop.is_set():
                break
        at["row"] = number
        at["in_offset"] += read
        at["out_offset"] += wrote

    def _checkpoint(self) -> bool:
        """Record the progress; False if the batch was cancelled or deleted in the meantime."""
        with self.store.transaction() as db:
            db.execute(
                """UPDATE batches SET row = :row, in_offset = :in_offset, out_offset = :out_offset,
                succeeded = :succeeded, failed = :failed, prompt_tokens = :prompt_tokens,
                cached_tokens = :cached_tokens, output_tokens = :output_tokens, updated = :now WHERE id = :id""",
                {**self._at, "now": self._engine.clock.now(), "id": self._row["id"]},
            )
            cancelled, deleted = db.execute(
                "SELECT cancelled, deleted FROM batches WHERE id = ?", (self._row["id"],)
            ).fetchone()
        return bool(cancelled == self._row["cancelled"] and deleted != 1)

    def _server(self, source: IO[bytes]) -> Callable[[bytes], bytes]:
        """The function from an input line to an output line; what is the same for every row is looked up once."""
        at, kind, wanted, plain = self._at, self._kind, self._tag, bool(self._row["plain"])
        engine = self._engine
        model = models.serving(
            self._row["model"], kind, now=engine.clock.now(), version="v1beta", method=models.BATCH_METHOD[kind]
        )
        respond, refused = engine.responder, self._refused
        prompts = CachedPrompts(engine.caches, self._row["owner"])
        read = partial(lines.read, kind, plain=plain, tag=wanted, lenient=engine.lenient)
        if isinstance(respond, Concurrent):

            def whole(_: str, request: dict[str, Any]) -> dict[str, Any]:
                prompts.check(self._row["model"], request, at=self._run_at(at["row"]))
                return prompts.whole(request)

            whole_request = terms.answering(self._row, whole, lenient=engine.lenient)
            fit = lines.refusing(whole_request, kind, lenient=engine.lenient)
            self._prefetch = self._prefetched(respond, model, source, lambda data: fit(model, read(data).request))
            respond = self._prefetch.answer
        number = at["row"]
        respond = prompts.answering(respond, self._row["model"], lambda: self._run_at(number))
        respond = terms.answering(self._row, respond, lenient=engine.lenient)
        if not plain:
            respond = lines.refusing(respond, kind, lenient=engine.lenient)
        met = engine.faults.rows(self._row) if engine.faults.row else None
        play = rows.player(met, self._row["id"], respond) if met else None
        attachments = Attachments(engine.files, self._row["owner"])
        numbers = itertools.count(number)

        def serve(data: bytes) -> bytes:
            nonlocal number
            tag, number = None, next(numbers)
            try:
                row = read(data)
                tag = row.tag
                if b"ile_uri" in data or b"ileUri" in data:
                    attachments.check(row.request)
                response = respond(model, row.request) if play is None else play(tag, model, row.request)
                usage = response.get("usageMetadata")
                answer = b'{"response":' + _encode(response) + tag + b"}\n"
            except RowError as error:
                failed = error
            except Exception as error:  # noqa: BLE001 - a responder may be a user's function; its row fails, not the batch
                failed = RowError(13, f"{type(error).__name__}: {error}")
            else:
                at["succeeded"] += 1
                if usage:
                    prompt = usage.get("promptTokenCount", 0)
                    at["prompt_tokens"] += prompt
                    at["cached_tokens"] += usage.get("cachedContentTokenCount", 0)
                    at["output_tokens"] += usage.get("totalTokenCount", prompt) - prompt
                return answer
            return refused(failed, lines.tag_of(data, wanted) if tag is None else tag)

        return serve

    def _run_at(self, number: int) -> int:
        """When a row is run by the clock, however late its batch is polled."""
        begun: int = self._row["due"]
        speed: float | None = self._row["rows_per_second"]
        return begun if speed is None else begun + round(number / speed * SECOND)

    def _prefetched(
        self, responder: Concurrent, model: str, source: IO[bytes], read: Callable[[bytes], dict[str, Any]]
    ) -> Prefetch:
        """The batch's prefetch at this row. Rows to be refused are not prefetched."""
        row, at = self._row, self._at
        until = self._target if row["cut"] is None else min(self._target, max(row["cut"], at["row"]))
        new = Prefetch(responder, model, read, row=at["row"], offset=at["in_offset"])
        return new.or_kept(self._engine.prefetched, row["id"], source, until=until)

    def _refused(self, error: RowError, tag: bytes) -> bytes:
        self._at["failed"] += 1
        if not error.field:
            return b"{" + tag[1:] + b"}\n"
        return b'{"%s":' % error.field.encode() + _encode(error.body()) + tag + b"}\n"
