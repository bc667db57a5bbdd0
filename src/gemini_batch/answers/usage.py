"""What an answer used, by kind: tokens, and what else is paid for. The basis of its cost."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from gemini_batch.answers.inline_data import is_image
from gemini_batch.answers.response_types import Grounding, piece

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gemini_batch.answers.response_types import Candidate, Embedded, Generated, Modality, Tokens


_DIGITS = re.compile(r"[0-9]{1,15}")
#: A larger count is invalid; the limit also keeps sums within SQLite's integers.
_MOST = 10**15


class Usage(msgspec.Struct, frozen=True):
    """Tokens of one answer, and its uses of search and maps.

    ``input``: the whole prompt, including ``cached``, ``audio_input``, ``image_input`` and ``video_input``. ``cached``
    includes ``cached_audio``, and ``audio_input`` does too; images and video that came from a cache are in ``cached``
    only. ``output``: what was written, including ``image_output`` and ``audio_output`` but not ``thoughts``, which are
    billed as output too. ``tool_use``: what tools added to the prompt, not included in ``input``. ``searches``: the
    different queries that the model made. ``maps``: 1 if places of Google Maps are among the sources.

    ``known``: the answer stated what it used; otherwise the counts are what it stated, and what it lacks is 0.
    """

    input: int = 0
    cached: int = 0
    output: int = 0
    thoughts: int = 0
    tool_use: int = 0
    audio_input: int = 0
    image_output: int = 0
    image_input: int = 0
    video_input: int = 0
    cached_audio: int = 0
    audio_output: int = 0
    searches: int = 0
    maps: int = 0
    known: bool = False


UNKNOWN = Usage()


def usage_of_generated(found: Generated) -> Usage:
    """Read ``usageMetadata`` and ``groundingMetadata`` of an answer.

    An answer that wrote something used some output: without a count of it, or of the images that it has, its usage is
    not known.
    """
    usage = _tokens_used(found.usage_metadata)
    wrote = images = grounded = False
    for candidate in found.candidates or ():  # no more than is needed: there are millions of answers
        if candidate.grounding_metadata:
            grounded = True
        if candidate.content is not None and candidate.content.parts:
            wrote = True
            for part in candidate.content.parts:
                if part.inline_data and not part.thought and is_image(part.inline_data):
                    images = True
    if usage.known and ((wrote and not usage.output) or (images and not usage.image_output)):
        usage = msgspec.structs.replace(usage, known=False)
    if grounded:
        searches, maps = _grounding(found.candidates or ())
        usage = msgspec.structs.replace(usage, searches=searches, maps=maps)
    return usage


def usage_of_embedded(found: Embedded) -> Usage:
    """Read ``usageMetadata`` of an embedding, or the bare ``tokenCount`` of its older form."""
    if found.usage_metadata is None:
        alone = count(found.token_count)
        return UNKNOWN if alone is None else Usage(input=alone, known=True)
    return _tokens_used(found.usage_metadata)


def _tokens_used(tokens: Tokens | None) -> Usage:
    """Each count at most what it is a part of. Zero counts are omitted on the wire.

    If the candidates' count is absent but the total is present, the rest of the total is output.
    """
    prompt = None if tokens is None else count(tokens.prompt_token_count)
    if tokens is None or prompt is None:
        return UNKNOWN
    thoughts = count(tokens.thoughts_token_count) or 0
    tool_use = count(tokens.tool_use_prompt_token_count) or 0
    output = count(tokens.candidates_token_count)
    if output is None:
        output = max(0, (count(tokens.total_token_count) or 0) - prompt - thoughts - tool_use)
    cached = min(count(tokens.cached_content_token_count) or 0, prompt)
    audio, images, video = _modalities(tokens.prompt_tokens_details or tokens.prompt_token_details)
    audio_output, image_output, _ = _modalities(tokens.candidates_tokens_details)
    if not (cached or audio or images or video or audio_output or image_output):  # most answers
        return Usage(prompt, 0, output, thoughts, tool_use, known=True)
    cached_audio = min(_modalities(tokens.cache_tokens_details)[0], cached)
    audio = min(max(audio, cached_audio), prompt - cached + cached_audio)
    left = prompt - cached - (audio - cached_audio)
    images = min(images, left)
    image_output = min(image_output, output)
    return Usage(
        prompt,
        cached,
        output,
        thoughts,
        tool_use,
        audio,
        image_output,
        images,
        min(video, left - images),
        cached_audio,
        min(audio_output, output - image_output),
        known=True,
    )


def _grounding(candidates: Iterable[Candidate]) -> tuple[int, int]:
    """The different queries of an answer, and 1 if a source of it is a place of Google Maps.

    Empty queries are not billed (docs/service.md). Sources without a query come from pages that the request named.
    """
    queries: set[str] = set()
    maps = False
    for candidate in candidates:
        found: Grounding = piece(candidate.grounding_metadata or None, Grounding) or Grounding()
        for raw in (found.web_search_queries, found.image_search_queries):
            asked: list[object] = piece(raw or None, list[object]) or []
            queries.update(one.strip() for one in asked if type(one) is str and one.strip())
        sources: list[object] = piece(found.grounding_chunks or None, list[object]) or []
        maps = maps or any(type(one) is dict and type(one.get("maps")) is dict for one in sources)
    return len(queries), int(maps)


def _modalities(details: list[Modality] | None) -> tuple[int, int, int]:
    """The tokens of sound, of images and of video."""
    audio = images = video = 0
    for one in details or ():
        match one.modality:
            case "TEXT":
                pass
            case "AUDIO":
                audio += count(one.token_count) or 0
            case "IMAGE":
                images += count(one.token_count) or 0
            case "VIDEO":
                video += count(one.token_count) or 0
            case _:
                pass
    return audio, images, video


def count(value: object) -> int | None:
    """A count as on the wire (``4``, ``4.0``, ``"4"``), or None for anything else."""
    if type(value) is int:
        return value if 0 <= value < _MOST else None
    if value is None:  # most of those that are no number
        return None
    if type(value) is str:
        return int(value) if _DIGITS.fullmatch(value) else None
    if type(value) is float and value.is_integer() and 0 <= value < _MOST:
        return int(value)
    return None
