"""Labels that stand for keys at Vertex AI, whose answers have no key but echo the labels of their requests.

A label's value may have 63 characters, none of them upper-case (cloud.google.com, *Labels*), and a key may be any text.
So a label is a hash of the key: the part by which rows are indexed, and a longer one that makes it certain.
"""

from __future__ import annotations

import hashlib
import re

import msgspec

from gemini_batch.store.rows.row_records import key_hash
from gemini_batch.vertex_place import LABEL

#: At most so many bytes does a label add to a line.
LABEL_BYTES = 100
_LABEL = re.compile(r"([0-9a-f]{16})[0-9a-f]{32}")
_WRAP = 1 << 64


def label_of(key: str) -> str:
    """The label that stands for a key: 48 hexadecimal digits."""
    more = hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    return f"{key_hash(key) % _WRAP:016x}{more}"


def hash_in(label: str) -> int | None:
    """The hash by which rows with the key of a label are found; None for what is no label of ours."""
    found = _LABEL.fullmatch(label)
    if found is None:
        return None
    number = int(found[1], 16)
    return number - _WRAP if number >= _WRAP // 2 else number


def for_vertex(line: bytes) -> bytes:
    """A request line as Vertex AI reads it: with the label of its key next to the labels that it has, and with a role
    in each of its contents, which the Gemini API does without.
    """
    document = msgspec.json.decode(line, type=dict[str, msgspec.Raw])
    request = msgspec.json.decode(document["request"], type=dict[str, msgspec.Raw])
    labels = msgspec.json.decode(request.get("labels", b"null")) or {}
    labels[LABEL] = label_of(msgspec.json.decode(document["key"], type=str))
    made: dict[str, object] = {**request, "labels": labels}
    contents = bytes(request.get("contents", b""))
    if contents.startswith(b"{"):
        made["contents"] = _with_role(contents)
    elif contents.startswith(b"["):
        made["contents"] = [_with_role(one) for one in msgspec.json.decode(contents, type=list[msgspec.Raw])]
    return msgspec.json.encode({**document, "request": made})


def _with_role(content: bytes | msgspec.Raw) -> object:
    fields = msgspec.json.decode(content, type=dict[str, msgspec.Raw])
    has_role = bytes(fields.get("role", b"null")) not in {b"null", b'""'}
    return fields if has_role else {**fields, "role": "user"}
