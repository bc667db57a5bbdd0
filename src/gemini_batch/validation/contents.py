"""Contents and parts: what is often written instead of their fields, and what is probably a mistake.

A content with only plain text parts is accepted at once. Names, types and values of all others are compared with the
protocol's tables in :mod:`conform`. Null counts as absent, as in proto JSON.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini_batch.protocol import rules
from gemini_batch.protocol.reading import is_base64
from gemini_batch.protocol.spelling import camel
from gemini_batch.protocol.tables import names
from gemini_batch.validation import fields
from gemini_batch.validation.file_uri import is_placeholder, mistake_of
from gemini_batch.validation.findings import clip, kind, pick, strangers

if TYPE_CHECKING:
    from gemini_batch.validation.findings import Findings


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
_OF_THE_GEMINI_API = "generativelanguage.googleapis.com/"
_TEXT_PART = 'Write `[{"text": "…"}]`.'
_BLOB = names("Blob")


def check_contents(contents: object, path: str, found: Findings) -> None:
    """Check the ``contents`` of a generation request: a list with at least one content."""
    if type(contents) is list:
        if not contents:
            found.error(path, "`contents` is an empty list.", 'Write `[{"parts": [{"text": "…"}]}]`.')
        for place, content in enumerate(contents):
            if not _is_plain(content, media=not found.vertex):
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


def is_plain(contents: object) -> bool:
    """Whether contents are a list of nothing but text and well-formed media, so that there is nothing to check."""
    return type(contents) is list and bool(contents) and all(map(_is_plain, contents))


def is_text(contents: object) -> bool:
    """Whether contents are a list of nothing but text, so that they hold no names besides those of text."""
    return type(contents) is list and bool(contents) and all(_is_plain(content, media=False) for content in contents)


def _is_plain(content: object, *, media: bool = True) -> bool:
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
        if (type(text) is not str or not text) and not (media and _is_plain_media(part)):
            return False
    return role is None or role in ("user", "model")


def _is_plain_media(part: dict[str, object]) -> bool:
    """Whether a part of one field is inline data or an uploaded file, as most lines write them."""
    ((name, media),) = part.items()
    if type(media) is not dict or len(media) != 2:
        return False
    mime_type = pick(media, "mimeType", "mime_type")[1]
    if type(mime_type) is not str:
        return False
    if name in ("inlineData", "inline_data"):
        data = media.get("data")
        return type(data) is str and bool(data) and is_base64(data) and rules.is_media_type(mime_type)
    uri = pick(media, "fileUri", "file_uri")[1]
    if name not in ("fileData", "file_data") or type(uri) is not str or not uri:
        return False
    return not uri.startswith("gs://") and mistake_of(uri) is None


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
    parts = content.get("parts")
    # The service ignores the role of a system instruction, and the SDK's examples set it freely.
    if not instruction and type(role) is str and role.lower() in _ROLE_WORDS and not _answers(role, parts):
        found.error(
            f"{path}.role", f"The role is {clip(role)}; it must be `user` or `model`.", _ROLE_WORDS[role.lower()]
        )
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


def _answers(role: str, parts: object) -> bool:
    """Whether a content only returns the output of functions, for which there are two more roles."""
    return (
        role in rules.FUNCTION_ROLES
        and type(parts) is list
        and all(type(part) is dict and pick(part, "functionResponse", "function_response")[1] for part in parts)
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
        found.warn(path, "The text of the system instruction is empty.", "Add text, or remove it.")
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
    elif not data and not unknown and part.get("thought") is not True:
        found.error(path, "The part has no data.", 'Write `{"text": "…"}`, or remove the part.')
    for name in ("inlineData", "inline_data"):
        if type(blob := part.get(name)) is dict:
            _check_blob(blob, f"{path}.{name}", found)
    for name in ("fileData", "file_data"):
        if type(file := part.get(name)) is dict:
            _check_file(file, f"{path}.{name}", found)


def _explain_part(name: str, part: dict[str, object], field: str, found: Findings) -> None:
    shape = camel(name)
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


def _check_blob(blob: dict[str, object], path: str, found: Findings) -> None:
    for name in strangers(blob, _BLOB):
        if name in ("uri", "url"):
            found.error(
                f"{path}.{name}",
                f"`{name}` is not a field of `inlineData`.",
                "To use a file by its URI, write `fileUri` in `fileData`.",
            )
    data = blob.get("data")
    if type(data) is str and data.startswith("data:"):
        found.error(
            f"{path}.data",
            "`data` is a data URL; it must be base64 only.",
            "Remove everything up to and including the comma.",
        )
    elif type(data) is str and not is_base64(data):
        found.error(
            f"{path}.data",
            "`data` is not base64.",
            "Encode the bytes of the file in base64. The service does not read paths or URLs here.",
        )


def _check_file(file: dict[str, object], path: str, found: Findings) -> None:
    name, uri = pick(file, "fileUri", "file_uri")
    if type(uri) is str and found.prepared and is_placeholder(uri):
        return
    if type(uri) is str and uri and (mistake := mistake_of(uri)):
        found.error(f"{path}.{name}", *mistake)
    elif type(uri) is str and found.vertex and _OF_THE_GEMINI_API in uri:
        found.error(
            f"{path}.{name}",
            "`fileUri` is a file of the Gemini API, which Vertex AI cannot read.",
            "Put the file in a bucket and write its gs:// address.",
        )
    elif type(uri) is str and uri.startswith("gs://") and not found.vertex:
        found.warn(
            f"{path}.{name}",
            "`fileUri` is a Cloud Storage address, which only Vertex AI reads.",
            "Upload the file to the Gemini API and use the `uri` that it returns, unless the file is registered there.",
        )


def check_turns(contents: object, found: Findings, model: str) -> None:
    """Warn of function calls in turns of the model that lack what the service expects of later turns."""
    if type(contents) is not list or (rules.generation(model) or rules.SIGNATURES_FROM) < rules.SIGNATURES_FROM:
        return
    for place, content in enumerate(contents):
        parts = content.get("parts") if type(content) is dict else None
        if type(parts) is not list:
            continue
        calls = [
            (number, part)
            for number, part in enumerate(parts)
            if type(part) is dict and pick(part, "functionCall", "function_call")[1] is not None
        ]
        if calls and not pick(calls[0][1], "thoughtSignature", "thought_signature")[1]:
            found.warn(
                f"request.contents[{place}].parts[{calls[0][0]}].thoughtSignature",
                "The function call has no `thoughtSignature`; Gemini 3 and later models reject the request.",
                "Copy the `thoughtSignature` of the model's answer next to `functionCall`.",
            )
