"""Request lines made up from the protocol's tables: valid ones, and ones with something wrong somewhere."""

from __future__ import annotations

import base64
import copy
import json
from typing import TYPE_CHECKING, Any

from gemini_batch.protocol import rules
from gemini_batch.protocol.spelling import snake
from gemini_batch.protocol.tables import enums, messages

if TYPE_CHECKING:
    import random

    from gemini_batch.protocol.tables import Field

MODELS = {
    "GenerateContentRequest": ("", "gemini-2.5-pro", "gemini-2.5-flash", "gemini-3.8-flash", "gemini-4-argon"),
    "EmbedContentRequest": ("", "gemini-embedding-001"),
}
_TEXT = ("Hello", "Why is the sky blue?", "größe \u2028", "x")
_ODD: tuple[Any, ...] = (
    None, "", "x", 0, -1, 3, 1.5, 10**12, 2**70, True, [], {}, [None], ["x"], {"x": 1}, "NaN", "1e5", [[]], "a b",
)  # fmt: skip


class Maker:
    """Makes lines from one source of randomness."""

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice

    def line(self) -> tuple[bytes, str]:
        """A line and the model that it is for: half of them with one to three things wrong."""
        message = "EmbedContentRequest" if self.dice.random() < 0.15 else "GenerateContentRequest"
        request = self.request(message)
        if self.dice.random() < 0.5:
            for _ in range(self.dice.randint(1, 3)):
                self.spoil(request)
        line = {"key": "a", "request": request}
        return json.dumps(line).encode(), self.dice.choice(MODELS[message])

    def request(self, message: str) -> dict[str, Any]:
        made = self.message(message, 0, keep=0.3)
        made.pop("model", None)
        if message == "GenerateContentRequest":
            made["contents"] = [self.content() for _ in range(self.dice.randint(1, 3))]
            if self.dice.random() < 0.8:
                made.pop("cachedContent", None)
        else:
            made["content"] = self.content()
        return self.spelled(made, message)

    def content(self) -> dict[str, Any]:
        made: dict[str, Any] = {"parts": [self.part() for _ in range(self.dice.randint(1, 2))]}
        if self.dice.random() < 0.6:
            made["role"] = self.dice.choice(rules.ROLES)
        return made

    def part(self) -> dict[str, Any]:
        if self.dice.random() < 0.6:
            return {"text": self.dice.choice(_TEXT)}
        return self.message("Part", 1, keep=0.1)

    def message(self, name: str, depth: int, *, keep: float) -> dict[str, Any]:
        made: dict[str, Any] = {}
        groups: set[str] = set()
        fields = list(messages()[name].fields)
        self.dice.shuffle(fields)
        for field in fields:
            wanted = field.required and (name, field.name) not in rules.OPTIONAL
            last = (
                field.group
                and field.group not in groups
                and not any(other.group == field.group for other in fields[fields.index(field) + 1 :])
            )
            if not (wanted or last or self.dice.random() < keep) or field.group in groups:
                continue
            if depth > 4 and field.type in messages() and not (wanted or last):
                continue
            made[field.name] = self.value(name, field, depth)
            if field.group:
                groups.add(field.group)
        return made

    def value(self, owner: str, field: Field, depth: int) -> Any:
        if field.shape == "list":
            most = min(field.most or 2, 2)
            return [self.one(owner, field, depth) for _ in range(self.dice.randint(1, most))]
        if field.shape == "map":
            return {f"name_{n}": self.one(owner, field, depth) for n in range(self.dice.randint(0, 2))}
        return self.one(owner, field, depth)

    def one(self, owner: str, field: Field, depth: int) -> Any:
        dice = self.dice
        if field.type in messages():
            if field.type == "Content":
                return self.content()
            return self.message(field.type, depth + 1, keep=0.25 if depth < 3 else 0.05)
        if field.type in enums():
            return dice.choice(enums()[field.type].values)
        limits = rules.RANGES.get((owner, field.name))
        span = limits.range if limits else field.range
        match field.type:
            case "i" | "l" if span:
                return dice.randint(int(span.low), int(span.high))
            case "i" | "l":
                return dice.choice([0, 1, 7, "7", 7.0])
            case "f" if span:
                return dice.choice([span.high, span.low + (span.high - span.low) / 3])
            case "f":
                return dice.choice([0, 0.5, "0.5"])
            case "b":
                return dice.random() < 0.5
            case "y":
                return base64.b64encode(dice.randbytes(dice.randint(1, 9))).decode()
            case "t":
                return "2026-11-25T08:00:00Z"
            case "d":
                return f"{dice.randint(0, 90)}s"
            case "o":
                return {"some_name": dice.choice([1, "x", None, {"a": []}])}
            case "v":
                return dice.choice([{"type": "string"}, {"type": "object", "properties": {"a": {"type": "integer"}}}])
            case _:
                return self.string(field)

    def string(self, field: Field) -> str:
        if field.words:
            return self.dice.choice(field.words)
        known = {
            "mimeType": "image/png",
            "fileUri": "https://generativelanguage.googleapis.com/v1beta/files/abc",
            "responseMimeType": "application/json",
            "cachedContent": "cachedContents/abc",
        }
        return known.get(field.name) or self.dice.choice(["word", "other_word", "a-b"])

    def spelled(self, value: dict[str, Any], message: str) -> dict[str, Any]:
        """The same request with some of its names in snake_case."""
        made: dict[str, Any] = {}
        for name, inner in value.items():
            field = messages()[message].lookup[name]
            if field.type in messages() and field.shape != "map":
                deeper = [self.spelled(one, field.type) for one in inner] if isinstance(inner, list) else None
                inner = deeper if deeper is not None else self.spelled(inner, field.type)  # noqa: PLW2901
            made[snake(name) if self.dice.random() < 0.3 else name] = inner
        return made

    def spoil(self, request: dict[str, Any]) -> None:
        """Change one thing at a random place, in place."""
        dice = self.dice
        places: list[tuple[Any, Any]] = []
        waiting: list[Any] = [request]
        while waiting:
            around = waiting.pop()
            for step in list(around) if isinstance(around, dict) else range(len(around)):
                places.append((around, step))
                if isinstance(around[step], dict | list):
                    waiting.append(around[step])
        if not places:
            return
        around, step = dice.choice(places)
        match dice.randint(0, 5):
            case 0:
                around[step] = copy.deepcopy(dice.choice(_ODD))
            case 1 if isinstance(around, dict):
                around[str(step) + dice.choice("xs_")] = around.pop(step)
            case 2 if isinstance(around, dict):
                del around[step]
            case 3 if isinstance(around, dict):
                around[dice.choice(["surprise", "text", "type", "maxTokens", "$ref", "data"])] = dice.choice(_ODD)
            case 4:
                around[step] = [around[step]]
            case _ if isinstance(around[step], str):
                around[step] = dice.choice([around[step].lower(), around[step] + "?", around[step][:-1]])
            case _:
                around[step] = copy.deepcopy(dice.choice(_ODD))
