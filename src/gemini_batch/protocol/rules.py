"""What the service refuses although the published schema allows it, and which models refuse what. Kept by hand.

Each rule has its source, the day on which it was noted, and a certainty. *Certain*: the refusal was seen in the
service's words, or Google documents it. *Likely*: a value is outside a documented range or list, or documented as an
error, and nobody reported what the service does. Marks of sources: W the service's own words, D Google's documentation
or schema text, S Google's own test suite, P other people's reports.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from gemini_batch.protocol.tables import Range

#: Day on which this page was last checked against its sources.
CHECKED = "2026-11-25"


class Limit(NamedTuple):
    """The range of a number, and whether the service is known to refuse others."""

    range: Range
    certain: bool = False


_INT32 = 2**31 - 1

#: By message and field. Ranges that the schema states itself are in ``schema.json``.
RANGES = {
    # 0 is refused (S, 2026-08); 65,536 is what the largest models write (D, models page, 2026-11-22). Likely above.
    ("GenerationConfig", "maxOutputTokens"): Limit(Range(1, 65_536)),
    # 0 is refused (S, 2026-08); at most 8 (D, generation parameters). Likely above.
    ("GenerationConfig", "candidateCount"): Limit(Range(1, 8)),
    # A probability (D, schema text, 2026-08). Likely.
    ("GenerationConfig", "topP"): Limit(Range(0, 1)),
    # A number of tokens (D, schema text, 2026-08). Likely.
    ("GenerationConfig", "topK"): Limit(Range(0, _INT32)),
    # D, generation parameters, 2026-08. Likely.
    ("GenerationConfig", "presencePenalty"): Limit(Range(-2, 2)),
    ("GenerationConfig", "frequencyPenalty"): Limit(Range(-2, 2)),
    # -1 lets the model decide; 32,768 is the largest budget of any model (D, thinking guide, 2026-08). Likely.
    ("ThinkingConfig", "thinkingBudget"): Limit(Range(-1, 32_768)),
    # The longest vector of any embedding model (D, embeddings guide, 2026-11-22). Certain.
    ("EmbedContentRequest", "outputDimensionality"): Limit(Range(1, 3072), certain=True),
    ("EmbedContentConfig", "outputDimensionality"): Limit(Range(1, 3072), certain=True),
    # A probability (D, schema text, 2026-08). Likely.
    ("DynamicRetrievalConfig", "dynamicThreshold"): Limit(Range(0, 1)),
}

#: Fields that the schema calls required and the service does not need: the job's model answers every line, a display
#: name is optional (W, 2026-09-30), and Google's samples leave out the others (D, 2026-11).
OPTIONAL = frozenset(
    {
        ("GenerateContentRequest", "model"),
        ("EmbedContentRequest", "model"),
        ("GenerateContentBatch", "model"),
        ("GenerateContentBatch", "displayName"),
        ("EmbedContentBatch", "model"),
        ("EmbedContentBatch", "displayName"),
        ("FunctionDeclaration", "description"),
        ("Schema", "type"),
        ("LanguageHints", "languageCodes"),
        ("CodeExecutionResult", "outcome"),
        ("ToolCall", "toolType"),
        ("ToolResponse", "toolType"),
    }
)
#: Required fields whose absence the service names in a refusal (W: "Name cannot be empty", 2026; D: a
#: file has a URI). The absence of the others is likely refused.
REQUIRED_FOR_SURE = frozenset(
    {
        ("GenerateContentRequest", "contents"),
        ("EmbedContentRequest", "content"),
        ("FunctionDeclaration", "name"),
        ("FunctionCall", "name"),
        ("FunctionResponse", "name"),
        ("FileData", "fileUri"),
        ("SafetySetting", "category"),
    }
)

#: A content's role; empty counts as absent (D, schema text). W, 2026: "Please use a valid role: user, model." Certain.
ROLES = ("user", "model")
#: Accepted for contents of function responses only: the SDK's README and older notebooks write them (D, 2026-11).
FUNCTION_ROLES = ("tool", "function")

#: D, schema text, 2026-08, names the first two and the last; older reference pages name the others, too. Likely.
RESPONSE_TYPES = ("text/plain", "application/json", "application/xml", "application/yaml", "text/x.enum")

#: What ``inlineData`` can hold (D, schema text of Blob, 2026-08). Other types: "Unsupported MIME type" (W, for uploads
#: and for parts). Likely: the list grows.
_MEDIA = re.compile(
    r"(?:image/(?:png|jpeg|jpg|webp|heic|heif|gif|avif)|audio/[^/]+|video/.+|text/[^/]+"
    r"|application/(?:pdf|json|rtf|xml|x-javascript|x-typescript|x-python-code|x-ipynb\+json))(?:\s*;.*)?",
    re.IGNORECASE,
)


@lru_cache(maxsize=256)
def is_media_type(mime_type: str) -> bool:
    """Whether a part can hold data of this MIME type."""
    return _MEDIA.fullmatch(mime_type) is not None


#: D, schema text, 2026-08; W: "Invalid function name. Must start with a letter or an underscore. …" (gemini-cli#2966,
#: at that time with at most 64 characters). Certain.
FUNCTION_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.:-]{0,127}")

#: The categories that a setting can name; the older ones belong to PaLM (D, schema text, 2026-08). Likely.
HARM_CATEGORIES = (
    "HARM_CATEGORY_HATE_SPEECH",
    "HARM_CATEGORY_SEXUALLY_EXPLICIT",
    "HARM_CATEGORY_DANGEROUS_CONTENT",
    "HARM_CATEGORY_HARASSMENT",
    "HARM_CATEGORY_CIVIC_INTEGRITY",
    "HARM_CATEGORY_JAILBREAK",
)

#: Messages whose unknown names are certainly refused: those of ``Schema`` are words of JSON Schema (``$ref``,
#: ``$defs``, ``additionalProperties``, ``oneOf``, ``const``), which ``responseSchema`` and ``parameters`` do not have
#: (W, 2026: "no such field"; D, schema text, 2026-08).
CLOSED = frozenset({"Schema"})

#: Pairs of fields of which a message has at most one (D, schema text, 2026-08: "mutually exclusive"). Likely.
EXCLUSIVE = (
    ("SpeechConfig", "voiceConfig", "multiSpeakerVoiceConfig"),
    ("FunctionDeclaration", "parameters", "parametersJsonSchema"),
    ("FunctionDeclaration", "response", "responseJsonSchema"),
    # D, structured output guide, 2026-08. Likely.
    ("GenerationConfig", "responseSchema", "responseJsonSchema"),
)

#: The pattern of a cache's name (D, published schema, 2026-08). Likely.
CACHE_NAME = re.compile(r"cachedContents/[^/]+")
#: W, 2026-08: "CachedContent can not be used with GenerateContent request setting …". Certain.
IN_CACHE = ("systemInstruction", "tools", "toolConfig")

#: The generation that a model's name states: 4 for ``gemini-4-argon``, 2 for ``gemini-2.5-flash``.
_GENERATION = re.compile(r"(?:models/)?gemini-([0-9]+)[.-]")


def generation(model: str) -> int | None:
    """The number in a model's name, or None if it states none (aliases, tuned models, embeddings)."""
    found = _GENERATION.match(model)
    return int(found[1]) if found else None


#: From Gemini 4 on: refused (P, 2026-11-12, citing Google's migration guide; D, Agent Platform guide, on levels).
#: Certain, where nothing else is said.
NO_BUDGET_FROM = 4
NO_MINIMAL_FROM = 4
NO_PENALTIES_FROM = 4
ONE_CANDIDATE_FROM = 4
NO_CACHE_FROM = 4  # explicit caching; P alone: likely
NO_MODEL_TURN_LAST_FROM = 4  # P alone: likely
XHIGH_FROM = 4  # the level is documented for Gemini 4; earlier models: likely refused
#: An answer that reaches the model's own limit ends with CONTINUATION, and a token for the next request (S, 2026-11).
CONTINUES_FROM = 4
#: Ignored from Gemini 4 on (the same sources): a warning.
IGNORES_SAMPLING_FROM = 4
SAMPLING = ("temperature", "topP", "topK")
#: Levels are refused before Gemini 3 (D, schema text: "results in an error"); a test of the SDK sends one to
#: gemini-2.5-flash and expects an answer (S, 3.6.1). Contested, so not certain.
LEVELS_FROM = 3
#: From this generation on, a function call in a turn of the model needs its thought signature (D, thought signatures
#: guide, 2026-11; W: "Function call is missing a thought_signature", 5ire#405). A warning: only current turns count.
SIGNATURES_FROM = 3
#: gemini-2.5-pro cannot stop thinking: its budgets are -1 or at least 128 (D, thinking guide, 2026-08). Certain.
NO_ZERO_BUDGET = re.compile(r"(?:models/)?gemini-2\.5-pro")
