"""Contents, parts, roles and the system instruction in the forms that SDKs and other providers take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gemini_batch.protocol.spelling import camel
from gemini_batch.validation import fields
from gemini_batch.validation.findings import pick
from gemini_batch.validation.fixing import chat
from gemini_batch.validation.fixing.notes import Object, rename

if TYPE_CHECKING:
    from gemini_batch.validation.fixing.notes import Notes

_DATA_WORDS = frozenset({"mimeType", "mime_type", "data"})
_URI_WORDS = frozenset({"mimeType", "mime_type", "fileUri", "file_uri"})


def fix_contents(request: Object, notes: Notes) -> None:
    """Put ``contents`` and ``systemInstruction`` into the API's form."""
    said = request.get("contents")
    if said is not None:
        request["contents"] = _contents(said, notes)
        _system_first(request, notes)
    name, instruction = pick(request, "systemInstruction", "system_instruction")
    if instruction is not None and (made := content_of(instruction, notes, "the system instruction")) is not None:
        request[name] = made


def content_of(value: Any, notes: Notes, what: str) -> Object | None:
    """One content of a string, a part, a list of them, or a list with one content; None if it is something else."""
    if type(value) is list and len(value) == 1 and _is_content(value[0]):
        notes.add(f"wrote {what} as one object instead of a list")
        value = value[0]
    if type(value) is dict:
        if _is_part(value):
            notes.add(f"put {what} into `parts`")
            return {"parts": [_part(value, notes)]}
        _content(value, notes)
        return value
    pieces = value if type(value) is list else [value]
    if not pieces or not all(type(one) is str or _is_part(one) for one in pieces):
        return None
    notes.add(f"put {what} into `parts`")
    return {"parts": [_as_part(one, notes) for one in pieces]}


def _contents(said: Any, notes: Notes) -> Any:
    values = said if type(said) is list else [said]
    if not all(type(one) in (str, dict) for one in values):
        return said
    contents: list[Object] = []
    loose: list[Object] | None = None
    for one in values:
        if type(one) is str or _is_part(one):
            # The SDK's rule: texts and parts that follow each other are one content.
            if loose is None:
                loose = []
                contents.append({"role": "user", "parts": loose})
            loose.append(_as_part(one, notes))
            notes.add("put texts in `contents` into `parts`")
        else:
            loose = None
            _content(one, notes)
            contents.append(one)
    if len(contents) == 1 and loose is not None:
        del contents[0]["role"]
    return contents


def _is_content(value: object) -> bool:
    return type(value) is dict and not _is_part(value) and bool(value.keys() & {"parts", "role", "content"})


def _is_part(value: object) -> bool:
    """Whether an object is a part without a content around it."""
    if type(value) is not dict or "parts" in value or "role" in value or "content" in value:
        return False
    names = {name for name, inner in value.items() if inner is not None}
    return bool(names & (fields.PART_DATA | _URI_WORDS)) and names <= fields.PART | _URI_WORDS | {"data", "type"}


def _as_part(one: Any, notes: Notes) -> Object:
    return {"text": one} if type(one) is str else _part(one, notes)


def _content(content: Object, notes: Notes) -> None:
    """Fix one content in its place."""
    role = content.get("role")
    if type(role) is str and role not in ("user", "model") and (meant := chat.ROLES.get(role.lower())):
        content["role"] = meant
        notes.add(f"replaced the role `{role}` by `{meant}`")
    if "parts" not in content and (parts := chat.parts_of(content.get("content"))):
        rename(content, "content", "parts", parts)
        notes.renamed("content", "parts")
    data = [name for name in content if name in fields.PART_DATA and content[name] is not None]
    if data and "parts" not in content:
        parts = [{name: content.pop(name)} for name in data]
        content["parts"] = parts
        notes.add(f"put `{data[0]}` of a content into `parts`")
    parts = content.get("parts")
    if type(parts) is str or type(parts) is dict:
        parts = content["parts"] = [parts]
        notes.add("made a list of `parts`")
    if type(parts) is list:
        content["parts"] = [made for one in parts for made in _parts(one, notes)]


def _parts(one: Any, notes: Notes) -> list[Any]:
    if type(one) is str:
        notes.add("put a text in `parts` into an object")
        return [{"text": one}]
    if type(one) is not dict:
        return [one]
    part = _part(one, notes)
    data = [name for name, value in part.items() if value is not None]
    if len(data) > 1 and fields.PART_DATA.issuperset(data) and len({camel(name) for name in data}) == len(data):
        notes.add("wrote each kind of data into a part of its own")
        return [{name: part[name]} for name in data]
    return [part]


def _part(part: Object, notes: Notes) -> Object:
    if "type" in part and (made := chat.part_of(part)) is not None:
        notes.add("translated a part from the chat format")
        return made
    names = {name for name, value in part.items() if value is not None}
    for around, words, needed in (("fileData", _URI_WORDS, "fileUri"), ("inlineData", _DATA_WORDS, "data")):
        if names and names <= words and needed in map(camel, names):
            notes.moved(needed, around)
            part = {around: {name: value for name, value in part.items() if value is not None}}
    for name in ("inlineData", "inline_data"):
        blob = part.get(name)
        if type(blob) is dict and type(url := blob.get("data")) is str and url.startswith("data:"):
            _take_url(part, name, blob, url, notes)
    for name in ("fileData", "file_data"):
        file = part.get(name)
        if type(file) is dict and type(url := pick(file, "fileUri", "file_uri")[1]) is str and url.startswith("data:"):
            _take_url(part, name, file, url, notes)
    return part


def _take_url(part: Object, name: str, around: Object, url: str, notes: Notes) -> None:
    """Put the data of a data URL in place of the object that has the URL, if both agree on the type of the data."""
    made = chat.linked(url)
    if made is None:
        return
    blob = made["inlineData"]
    if pick(around, "mimeType", "mime_type")[1] in (None, blob["mimeType"]) and len(around) <= 2:
        rename(part, name, "inlineData", blob)
        notes.add("put the data of a `data:` URL into `inlineData`")


def _system_first(request: Object, notes: Notes) -> None:
    """Move contents of the role `system` from the beginning to ``systemInstruction``, if there is none."""
    contents = request["contents"]
    if type(contents) is not list or pick(request, "systemInstruction", "system_instruction")[1] is not None:
        return
    parts: list[Any] = []
    count = 0
    for content in contents:
        role, inner = (content.get("role"), content.get("parts")) if type(content) is dict else (None, None)
        if type(role) is not str or role.lower() not in chat.SYSTEM or type(inner) is not list:
            break
        parts += inner
        count += 1
    if parts and count < len(contents):
        del contents[:count]
        request.pop("system_instruction", None)
        request["systemInstruction"] = {"parts": parts}
        notes.add("moved the content with the role `system` to `request.systemInstruction`")
