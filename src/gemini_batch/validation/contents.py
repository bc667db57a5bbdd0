"""Contents and parts: what a request sends to the model.

A content with only plain text parts is accepted at once. Everything else is checked field by field with its path, so
that a message can name ``request.contents[2].parts[0].inlineData.mimeType``. Null counts as absent, as in proto JSON.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from gemini_batch.validation import fields
from gemini_batch.validation.file_uri import mistake_of
from gemini_batch.validation.findings import clip, kind, pick, strangers

if TYPE_CHECKING:
    from gemini_batch.validation.findings import Findings


_ROLES = frozenset({"user", "model"})
_ROLE_WORDS = {
    "assistant": 'Write `"role": "model"`.',
    "ai": 'Write `"role": "model"`.',
    "bot": 'Write `"role": "model"`.',
    "system": 'Move its parts to `request.systemInstruction`: `{"parts": [{"text": "…"}]}`.',
    "developer": 'Move its parts to `request.systemInstruction`: `{"parts": [{"text": "…"}]}`.',
    "tool": 'Write `"role": "user"` and put the tool\'s output in a `functionResponse` part.',
    "function": 'Write `"role": "user"` and put the function\'s output in a `functionResponse` part.',
    "human": 'Write `"role": "user"`.',
}
_TEXT_PART = 'Write `[{"text": "…"}]`.'
_BASE64 = re.compile(r"[A-Za-z0-9+/_\-=\s]*")
#: Enough characters to tell base64 from a path, a URL or prose without reading megabytes twice.
_BASE64_SAMPLE = 400


def check_contents(contents: object, path: str, found: Findings) -> None:
    """Check the ``contents`` of a generation request: a list with at least one content."""
    if type(contents) is list:
        if not contents:
            found.error(path, "`contents` is an empty list.", 'Write `[{"parts": [{"text": "…"}]}]`.')
        for place, content in enumerate(contents):
            if not _is_plain(content):
                check_content(content, f"{path}[{place}]", found)
    elif type(contents) is dict:
        found.warn(path, "`contents` is an object; it should be a list.", "Enclose it in `[…]`.")
        check_content(contents, path, found)
    else:
        found.error(
            path,
            f"`contents` is {kind(contents)}; it must be a list of contents.",
            'Put the text in a part: `[{"parts": [{"text": "…"}]}]`.',
        )


def _is_plain(content: object) -> bool:
    if type(content) is not dict:
        return False
    role = content.get("role")
    parts = content.get("parts")
    if type(parts) is not list or not parts or len(content) != (1 if role is None else 2):
        return False
    for part in parts:
        if type(part) is not dict or len(part) != 1:
            return False
        text = part.get("text")
        if type(text) is not str or not text:
            return False
    return role is None or role in ("user", "model")


def check_content(content: object, path: str, found: Findings, *, instruction: bool = False) -> None:
    """Check one content: an object with ``parts`` and, optionally, a ``role``.

    ``instruction``: the content is a system instruction.
    """
    if type(content) is not dict:
        fix = 'Put the text in a part: `{"parts": [{"text": "…"}]}`.'
        if type(content) is list:
            fix = 'Write one object with the parts in a list: `{"parts": […]}`.'
        found.error(path, f"The content is {kind(content)}; it must be an object with `parts`.", fix)
        return
    _check_names(content, path, found)
    role = content.get("role")
    # The service ignores the role of a system instruction, and the SDK's examples set it freely.
    if not instruction and role is not None and not (type(role) is str and role in _ROLES):
        known = _ROLE_WORDS.get(role.lower()) if type(role) is str else None
        shown = clip(role) if type(role) is str else kind(role)
        found.error(f"{path}.role", f"The role is {shown}; it must be `user` or `model`.", known or 'Write `"user"`.')
    parts = content.get("parts")
    if parts is None:
        if not any(name in content for name in ("content", "text", *fields.PART_DATA)):
            found.error(path, "The content has no `parts`.", 'Add `"parts": [{"text": "…"}]`.')
    elif type(parts) is list:
        _check_parts(parts, f"{path}.parts", found, instruction=instruction)
    elif type(parts) is dict:
        found.warn(f"{path}.parts", "`parts` is an object; it should be a list.", "Enclose it in `[…]`.")
        _check_part(parts, f"{path}.parts", found)
    else:
        found.error(f"{path}.parts", f"`parts` is {kind(parts)}; it must be a list of parts.", _TEXT_PART)


def _check_names(content: dict[str, object], path: str, found: Findings) -> None:
    for name in strangers(content, fields.CONTENT):
        field = f"{path}.{name}"
        if name == "content":
            found.error(field, "`content` is the chat format of other providers.", 'Write `"parts": [{"text": "…"}]`.')
        elif name in fields.PART:
            found.error(
                field, f"`{name}` belongs in a part, not in the content.", f'Write `"parts": [{{"{name}": …}}]`.'
            )
        elif meant := fields.near(name, fields.CONTENT):
            found.error(field, f"{clip(name)} is not a field of a content.", f"Did you mean `{meant}`?")
        else:
            found.warn(
                field,
                f"{clip(name)} is not a known field of a content.",
                "Check the spelling. The service may reject it.",
            )


def _check_parts(parts: list[object], path: str, found: Findings, *, instruction: bool) -> None:
    if not parts:
        found.error(path, "`parts` is an empty list.", _TEXT_PART)
        return
    says_something = False
    for place, part in enumerate(parts):
        _check_part(part, f"{path}[{place}]", found)
        says_something = says_something or not (type(part) is dict and part.get("text") == "" and len(part) == 1)
    if says_something:
        return
    if instruction:
        found.error(
            path, "The text of the system instruction is empty; the service rejects it.", "Add text, or remove it."
        )
    else:
        found.warn(path, "The text of the content is empty.", "Add text, or remove the line.")


def _check_part(part: object, path: str, found: Findings) -> None:
    if type(part) is not dict:
        fix = 'Put the text in an object: `{"text": "…"}`.' if type(part) is str else 'Write `{"text": "…"}`.'
        found.error(path, f"The part is {kind(part)}; it must be an object.", fix)
        return
    unknown = strangers(part, fields.PART)
    for name in unknown:
        _explain_part(name, part, f"{path}.{name}", found)
    data = [name for name in part if name in fields.PART_DATA and part[name] is not None]
    if len(data) > 1:
        listed = " and ".join(f"`{name}`" for name in data)
        found.error(path, f"The part has {listed}; it can have only one of them.", "Write a separate part for each.")
    elif not data and not unknown:
        found.error(path, "The part has no data.", 'Write `{"text": "…"}`, or remove the part.')
    for name in data:
        _check_data(name, part[name], f"{path}.{name}", found)


def _explain_part(name: str, part: dict[str, object], field: str, found: Findings) -> None:
    shape = fields.camel(name)
    if name == "type" and "text" in part:
        found.error(
            field, "`type` is another provider's field.", "Remove it. The name of the data field gives a part its type."
        )
    elif shape in ("imageUrl", "image", "inputAudio", "source"):
        found.error(
            field,
            f"`{name}` is another provider's field.",
            'Write `{"inlineData": {"mimeType": "image/png", "data": "<base64>"}}` or `{"fileData": {"mimeType": …, '
            '"fileUri": …}}`.',
        )
    elif shape == "fileUri":
        found.error(
            field, f"`{name}` belongs in `fileData`.", 'Write `{"fileData": {"mimeType": "…", "fileUri": "…"}}`.'
        )
    elif shape in ("mimeType", "data"):
        around = "fileData" if "fileUri" in part or "file_uri" in part else "inlineData"
        found.error(field, f"`{name}` belongs in `{around}`.", f'Write `{{"{around}": {{"{name}": …}}}}`.')
    elif shape in ("parts", "role"):
        found.error(field, f"`{name}` belongs in a content, not in a part.", "Remove one level of `parts`.")
    elif meant := fields.near(name, fields.PART):
        found.error(field, f"{clip(name)} is not a field of a part.", f"Did you mean `{meant}`?")
    else:
        found.warn(
            field, f"{clip(name)} is not a known field of a part.", "Check the spelling. The service may reject it."
        )


def _check_data(name: str, value: object, path: str, found: Findings) -> None:
    if name == "text":
        if type(value) is not str:
            found.error(path, f"`text` is {kind(value)}; it must be a string.", "Write it as one string, in quotes.")
    elif type(value) is not dict:
        found.error(path, f"`{name}` is {kind(value)}; it must be an object.", "Write its fields inside `{…}`.")
    elif name in ("inlineData", "inline_data"):
        _check_blob(value, path, found)
    elif name in ("fileData", "file_data"):
        _check_file(value, path, found)


def _check_blob(blob: dict[str, object], path: str, found: Findings) -> None:
    _check_media_names(blob, fields.BLOB, path, found)
    name, mime = pick(blob, "mimeType", "mime_type")
    if type(mime) is not str or "/" not in mime:
        found.error(
            f"{path}.{name}", "`inlineData` has no MIME type.", 'Add it, for example `"mimeType": "image/png"`.'
        )
    data = blob.get("data")
    if type(data) is not str or not data:
        found.error(f"{path}.data", "`inlineData` has no `data`.", 'Add the bytes, in base64: `"data": "<base64>"`.')
    elif data.startswith("data:"):
        found.error(
            f"{path}.data",
            "`data` is a data URL; it must be base64 only.",
            "Remove everything up to and including the comma.",
        )
    elif not _BASE64.fullmatch(data[:_BASE64_SAMPLE]):
        found.error(
            f"{path}.data",
            "`data` is not base64.",
            "Encode the bytes of the file in base64. The service does not read paths or URLs here.",
        )


def _check_file(file: dict[str, object], path: str, found: Findings) -> None:
    _check_media_names(file, fields.FILE_DATA, path, found)
    name, uri = pick(file, "fileUri", "file_uri")
    if type(uri) is not str or not uri:
        found.error(
            f"{path}.{name}", "`fileData` has no URI of an uploaded file.", 'Add `"fileUri": "https://…/files/…"`.'
        )
    elif mistake := mistake_of(uri):
        found.error(f"{path}.{name}", *mistake)
    elif uri.startswith("gs://"):
        found.warn(
            f"{path}.{name}",
            "`fileUri` is a Cloud Storage address, which only Vertex AI reads.",
            "Upload the file to the Gemini API and use the `uri` that it returns, unless the file is registered there.",
        )


def _check_media_names(media: dict[str, object], known: frozenset[str], path: str, found: Findings) -> None:
    for name in strangers(media, known):
        if meant := fields.near(name, known):
            found.error(f"{path}.{name}", f"{clip(name)} is not a field here.", f"Did you mean `{meant}`?")
        elif name in ("uri", "url"):
            found.error(
                f"{path}.{name}",
                f"`{name}` is not a field of `inlineData`.",
                "To use a file by its URI, write `fileUri` in `fileData`.",
            )
        else:
            found.warn(
                f"{path}.{name}",
                f"{clip(name)} is not a known field here.",
                "Check the spelling. The service may reject it.",
            )
