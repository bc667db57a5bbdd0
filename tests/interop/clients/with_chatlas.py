"""chatlas: three chats in one batch, read as structured data (inline, SDK)."""

import json
import sys

from chatlas import ChatGoogle, batch_chat_structured  # type: ignore[import-not-found]
from pydantic import BaseModel


class Note(BaseModel):
    """What the model is to write."""

    title: str


rows = json.load(sys.stdin)
chat = ChatGoogle(model="gemini-3.8-flash")
notes = batch_chat_structured(chat, [row["text"] for row in rows], "state.json", Note)
assert notes is not None
json.dump({row["key"]: note.title for row, note in zip(rows, notes, strict=True)}, sys.stdout)
