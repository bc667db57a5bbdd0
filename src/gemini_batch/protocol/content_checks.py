"""Rules about contents: roles, parts, and the data in them."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from gemini_batch.protocol import rules
from gemini_batch.protocol.judging import refused
from gemini_batch.protocol.tables import messages

if TYPE_CHECKING:
    from gemini_batch.protocol.judging import Judge
    from gemini_batch.protocol.reading import Place
    from gemini_batch.protocol.tables import Field


def content(judge: Judge, content: dict[str, Any], place: Place) -> None:
    parts = content.get("parts")
    if not parts:
        judge.add(
            (*place, "parts"),
            "The content has no parts.",
            'Write `[{"text": "…"}]`.',
            "contents.parts must not be empty.",
        )
        return
    role = content.get("role")
    if not role or role in rules.ROLES or (place and place[0] == "systemInstruction"):
        return
    if role in rules.FUNCTION_ROLES and all(isinstance(part, dict) and "functionResponse" in part for part in parts):
        return
    judge.add(
        (*place, "role"),
        f"The role is `{str(role)[:40]}`; it must be `user` or `model`.",
        'Write `"user"`.',
        "Please use a valid role: user, model.",
    )


def part(judge: Judge, part: dict[str, Any], place: Place) -> None:
    # A thought without text is in a history that the SDK's own tests send; the service answers it (S, 3.6.1).
    if part.get("thought") is not True and all(part.get(field.name) is None for field in _data()):
        judge.add(
            place,
            "The part has no data.",
            'Write `{"text": "…"}`, or remove the part.',
            "required oneof field 'data' must have one initialized field",
            empty=True,
        )


@cache
def _data() -> tuple[Field, ...]:
    return tuple(field for field in messages()["Part"].fields if field.group)


def blob(judge: Judge, blob: dict[str, Any], place: Place) -> None:
    mime_type = blob.get("mimeType") or ""
    if "/" not in mime_type:
        judge.add(
            (*place, "mimeType"), "`inlineData` has no MIME type.", 'Add it, for example `"mimeType": "image/png"`.'
        )
    elif not rules.is_media_type(mime_type):
        judge.add(
            (*place, "mimeType"),
            f"`{mime_type[:60]}` is not a MIME type that models read.",
            "Convert the data, for example to PDF or plain text.",
            f"Unsupported MIME type: {mime_type}",
            certain=False,
        )
    if not blob.get("data"):
        judge.add(
            (*place, "data"),
            "`inlineData` has no `data`.",
            'Add the bytes, in base64: `"data": "<base64>"`.',
            "data is not specified",
        )


def contents(judge: Judge, request: dict[str, Any], place: Place) -> None:
    last = (request.get("contents") or [None])[-1]
    if (judge.generation or 0) >= rules.NO_MODEL_TURN_LAST_FROM and last and last.get("role") == "model":
        refused(
            judge,
            (*place, "contents"),
            f"The last turn is the model's; {judge.model} does not continue it.",
            "End with a turn of the user.",
            certain=False,
        )


def embedding(judge: Judge, request: dict[str, Any], place: Place) -> None:
    parts = (request.get("content") or {}).get("parts") or ()
    if parts and all(part.get("text") == "" for part in parts if isinstance(part, dict)):
        judge.add(
            (*place, "content"),
            "The text to embed is empty.",
            "Add text, or remove the line.",
            "content is not specified",
        )
