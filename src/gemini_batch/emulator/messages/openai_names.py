"""Names in which OpenAI's chat completions and the API's messages differ, for both directions of translation.

:mod:`gemini_batch.emulator.responders.chat_format` asks an OpenAI-compatible server; :mod:`.openai_requests` and
:mod:`.openai_answers` serve OpenAI's clients.
"""

from __future__ import annotations

#: Settings of a generation, and their names in a chat completion.
SETTINGS = {
    "temperature": "temperature",
    "topP": "top_p",
    "maxOutputTokens": "max_tokens",
    "candidateCount": "n",
    "seed": "seed",
    "presencePenalty": "presence_penalty",
    "frequencyPenalty": "frequency_penalty",
    "stopSequences": "stop",
}
#: Formats of audio, by media type; of two media types for a format, the first is the usual one.
AUDIO = {"audio/wav": "wav", "audio/x-wav": "wav", "audio/mp3": "mp3", "audio/mpeg": "mp3"}
#: Modes of function calling, and the ``tool_choice`` that means the same; ``AUTO`` is the default of both.
MODES = {"ANY": "required", "NONE": "none"}
JSON = "application/json"

#: Finish reasons of a chat completion. The last two are not standard, but some servers send them.
FINISH = {
    "stop": "STOP",
    "length": "MAX_TOKENS",
    "content_filter": "SAFETY",
    "tool_calls": "STOP",
    "eos_token": "STOP",
    "stop_sequence": "STOP",
}
_CUT = frozenset({"MAX_TOKENS", "CONTINUATION"})
_CALLS = frozenset(
    {"MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS", "MISSING_THOUGHT_SIGNATURE"}
)


def finish_of(reason: str, *, calls: bool) -> str:
    """The finish reason of a chat completion for one of the API's; ``calls``: whether functions were called.

    What OpenAI has no word for follows a colon, as the service writes it (``content_filter: RECITATION``).
    """
    if reason == "STOP":
        return "tool_calls" if calls else "stop"
    if reason in _CUT:
        return "length"
    return f"{'function_call_filter' if reason in _CALLS else 'content_filter'}: {reason}"
