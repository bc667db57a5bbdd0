"""What the published schema does not say about names: oneofs, and fields and values that are newer than it.

The names are those that google-genai 3.4.0 to 3.6.1 sends to this API (November 2026). Whether the service knows each
of them by now was not tried. Validation accepts them with a warning; the emulator accepts them.
"""

from __future__ import annotations

#: Fields of which a message has at most one, in the notation ``oneof: fields`` (proto definitions, 2026-08).
ONEOFS = {
    "Part": {
        "data": "text inlineData fileData functionCall functionResponse executableCode codeExecutionResult toolCall "
        "toolResponse audioTranscription"
    },
    "FunctionResponsePart": {"data": "inlineData fileData"},
    "CachedContent": {"expiration": "expireTime ttl"},
    "InputConfig": {"source": "fileName requests"},
    "InputEmbedContentConfig": {"source": "fileName requests"},
}

#: In the notation of ``schema.json``. Objects whose fields are not documented yet are read as any object.
FIELDS = {
    "AudioTranscriptionConfig": {"sourceText": "s"},
    "BatchEmbedContentsRequest": {"model": "s"},  # the model of the URL, repeated
    "BatchGenerateContentRequest": {"model": "s"},
    "AsyncBatchEmbedContentRequest": {"model": "s"},
    "CountTokensRequest": {"model": "s"},
    "GenerateContentBatch": {"webhookConfig": "WebhookConfig"},  # documented 2026-05-04
    "EmbedContentBatch": {"webhookConfig": "WebhookConfig"},
    "WebhookConfig": {"uris": "s*", "userMetadata": "o"},
    "FunctionResponsePart": {
        "audioMetadata": "o",
        "documentMetadata": "o",
        "fileData": "FunctionResponseFileData",
        "mediaProcessing": "MediaProcessing",
        "mediaResolution": "V1mainMediaResolution",
        "spreadsheetMetadata": "o",
        "videoMetadata": "VideoMetadata",
    },
    "FunctionResponseFileData": {"fileUri": "s", "mimeType": "s"},
    "GenerateContentRequest": {"continuationToken": "y", "labels": "s{}"},
    "Part": {
        "audioMetadata": "o",
        "audioTranscription": "o",
        "documentMetadata": "o",
        "speechMetadata": "o",
        "spreadsheetMetadata": "o",
    },
    "V1mainMediaResolution": {"numTokens": "i"},
    "VideoMetadata": {"contentLayers": "s*"},
    "VoiceConfig": {"replicatedVoiceConfig": "o", "voice": "s"},
}

#: Values that follow those of the schema.
VALUES = {
    "ThinkingLevel": "XHIGH",  # documented for Gemini 4, 2026-11-11
    "ToolType": "MEDIA_PROCESSING GOOGLE_SEARCH",  # the second is in the SDK's own tests (S, 3.6.1)
}

#: Without these the emulator could not read the jobs that official clients create: no warning.
ESTABLISHED = frozenset(
    {"webhookConfig", "model", "uris", "userMetadata"},
)
