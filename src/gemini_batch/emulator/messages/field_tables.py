"""The field tables of the messages that the emulator reads, in a compact notation.

One line per message: its name, then ``field:type``. Types: ``s`` string, ``y`` bytes (base64), ``b`` bool, ``i`` int32,
``l`` int64, ``f`` number, ``v`` any JSON value, ``o`` a Struct (any JSON object, never changed), a message's name, or
an enum's name. ``type*`` is a list, ``{type}`` a map from strings, ``type|group`` a member of a oneof.

Field names are the API's camelCase; the proto spelling in snake_case is accepted too. Newer than the public schema of
August 2026: ``webhookConfig``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Literal

_MESSAGES = """
BatchGenerateContentRequest model:s batch:GenerateContentBatch
AsyncBatchEmbedContentRequest model:s batch:EmbedContentBatch
GenerateContentBatch name:s model:s displayName:s inputConfig:InputConfig output:o createTime:s endTime:s updateTime:s
    batchStats:o state:BatchState priority:l webhookConfig:WebhookConfig
EmbedContentBatch name:s model:s displayName:s inputConfig:InputEmbedContentConfig output:o createTime:s endTime:s
    updateTime:s batchStats:o state:BatchState priority:l webhookConfig:WebhookConfig
WebhookConfig uris:s* userMetadata:o
InputConfig fileName:s|source requests:InlinedRequests|source
InputEmbedContentConfig fileName:s|source requests:InlinedEmbedContentRequests|source
InlinedRequests requests:InlinedRequest*
InlinedRequest request:GenerateContentRequest metadata:o
InlinedEmbedContentRequests requests:InlinedEmbedContentRequest*
InlinedEmbedContentRequest request:EmbedContentRequest metadata:o
CountTokensRequest model:s contents:Content* generateContentRequest:GenerateContentRequest
BatchEmbedContentsRequest model:s requests:EmbedContentRequest*
CreateFileRequest file:File
File name:s displayName:s mimeType:s sizeBytes:l createTime:s updateTime:s expirationTime:s sha256Hash:y uri:s
    downloadUri:s state:FileState error:o source:FileSource videoMetadata:o

GenerateContentRequest model:s contents:Content* systemInstruction:Content tools:Tool* toolConfig:ToolConfig
    safetySettings:SafetySetting* generationConfig:GenerationConfig cachedContent:s serviceTier:ServiceTier store:b
Content role:s parts:Part*
Part text:s|data inlineData:Blob|data fileData:FileData|data functionCall:FunctionCall|data
    functionResponse:FunctionResponse|data executableCode:ExecutableCode|data
    codeExecutionResult:CodeExecutionResult|data toolCall:ToolCall|data toolResponse:ToolResponse|data
    thought:b thoughtSignature:y videoMetadata:VideoMetadata mediaResolution:PartMediaResolution
    mediaProcessing:MediaProcessing partMetadata:o
Blob mimeType:s data:y
FileData mimeType:s fileUri:s
VideoMetadata startOffset:s endOffset:s fps:f
PartMediaResolution level:PartMediaLevel
FunctionCall id:s name:s args:o
FunctionResponse id:s name:s response:o scheduling:Scheduling willContinue:b parts:FunctionResponsePart*
FunctionResponsePart inlineData:FunctionResponseBlob
FunctionResponseBlob mimeType:s data:y
ExecutableCode id:s language:CodeLanguage code:s
CodeExecutionResult id:s outcome:CodeOutcome output:s
ToolCall id:s toolName:s toolType:ToolType args:o
ToolResponse id:s toolType:ToolType response:o
SafetySetting category:HarmCategory threshold:HarmBlockThreshold

Tool functionDeclarations:FunctionDeclaration* googleSearch:GoogleSearch googleSearchRetrieval:GoogleSearchRetrieval
    codeExecution:CodeExecution urlContext:UrlContext googleMaps:GoogleMaps fileSearch:FileSearch
    computerUse:ComputerUse mcpServers:McpServer*
FunctionDeclaration name:s description:s behavior:FunctionBehavior parameters:Schema parametersJsonSchema:v
    response:Schema responseJsonSchema:v
GoogleSearch timeRangeFilter:Interval searchTypes:SearchTypes
SearchTypes webSearch:WebSearch imageSearch:ImageSearch
WebSearch
ImageSearch
Interval startTime:s endTime:s
GoogleSearchRetrieval dynamicRetrievalConfig:DynamicRetrievalConfig
DynamicRetrievalConfig mode:DynamicRetrievalMode dynamicThreshold:f
CodeExecution
UrlContext
GoogleMaps enableWidget:b
FileSearch fileSearchStoreNames:s* metadataFilter:s topK:i
ComputerUse environment:ComputerEnvironment excludedPredefinedFunctions:s* enablePromptInjectionDetection:b
    disabledSafetyPolicies:SafetyPolicy*
McpServer name:s streamableHttpTransport:StreamableHttpTransport
StreamableHttpTransport url:s headers:{s} timeout:s sseReadTimeout:s terminateOnClose:b
ToolConfig functionCallingConfig:FunctionCallingConfig retrievalConfig:RetrievalConfig
    includeServerSideToolInvocations:b
FunctionCallingConfig mode:FunctionCallingMode allowedFunctionNames:s*
RetrievalConfig languageCode:s latLng:LatLng
LatLng latitude:f longitude:f

GenerationConfig temperature:f topP:f topK:i candidateCount:i maxOutputTokens:i stopSequences:s* seed:i
    presencePenalty:f frequencyPenalty:f responseMimeType:s responseSchema:Schema responseJsonSchema:v
    responseFormat:ResponseFormatConfig responseModalities:Modality* responseLogprobs:b logprobs:i
    mediaResolution:MediaResolution speechConfig:SpeechConfig imageConfig:ImageConfig thinkingConfig:ThinkingConfig
    audioTranscriptionConfig:AudioTranscriptionConfig translationConfig:TranslationConfig enableAffectiveDialog:b
    enableEnhancedCivicAnswers:b
ThinkingConfig includeThoughts:b thinkingBudget:i thinkingLevel:ThinkingLevel
ImageConfig aspectRatio:s imageSize:s
SpeechConfig voiceConfig:VoiceConfig multiSpeakerVoiceConfig:MultiSpeakerVoiceConfig languageCode:s
VoiceConfig prebuiltVoiceConfig:PrebuiltVoiceConfig
PrebuiltVoiceConfig voiceName:s
MultiSpeakerVoiceConfig speakerVoiceConfigs:SpeakerVoiceConfig*
SpeakerVoiceConfig speaker:s voiceConfig:VoiceConfig
ResponseFormatConfig audio:AudioResponseFormat image:ImageResponseFormat text:TextResponseFormat
AudioResponseFormat mimeType:AudioFormat bitRate:i sampleRate:i delivery:Delivery
ImageResponseFormat mimeType:ImageFormat aspectRatio:ImageAspectRatio imageSize:ImageSize delivery:Delivery
TextResponseFormat mimeType:TextFormat schema:v
AudioTranscriptionConfig adaptationPhrases:s* languageCodes:s* diarization:b languageHints:LanguageHints
    mode:TranscriptionMode languageAuto:LanguageAuto wordTimestamp:b customVocabulary:s*
LanguageHints languageCodes:s*
LanguageAuto
TranslationConfig targetLanguageCode:s echoTargetLanguage:b
Schema type:SchemaType format:s title:s description:s nullable:b enum:s* items:Schema minItems:l maxItems:l
    properties:{Schema} required:s* propertyOrdering:s* minProperties:l maxProperties:l anyOf:Schema* minimum:f
    maximum:f minLength:l maxLength:l pattern:s default:v example:v

EmbedContentRequest model:s content:Content embedContentConfig:EmbedContentConfig taskType:TaskType title:s
    outputDimensionality:i
EmbedContentConfig taskType:TaskType title:s outputDimensionality:i autoTruncate:b documentOcr:b
    audioTrackExtraction:b
"""

#: Values in the order of their numbers. The first one is the "unspecified" of its enum.
_ENUMS = """
BatchState BATCH_STATE_UNSPECIFIED BATCH_STATE_PENDING BATCH_STATE_RUNNING BATCH_STATE_SUCCEEDED BATCH_STATE_FAILED
    BATCH_STATE_CANCELLED BATCH_STATE_EXPIRED
FileState STATE_UNSPECIFIED PROCESSING ACTIVE FAILED
FileSource SOURCE_UNSPECIFIED UPLOADED GENERATED REGISTERED
ServiceTier unspecified standard flex priority
PartMediaLevel MEDIA_RESOLUTION_UNSPECIFIED MEDIA_RESOLUTION_LOW MEDIA_RESOLUTION_MEDIUM MEDIA_RESOLUTION_HIGH
    MEDIA_RESOLUTION_ULTRA_HIGH
MediaResolution MEDIA_RESOLUTION_UNSPECIFIED MEDIA_RESOLUTION_LOW MEDIA_RESOLUTION_MEDIUM MEDIA_RESOLUTION_HIGH
MediaProcessing MEDIA_PROCESSING_UNSPECIFIED STATIC AGENTIC
Scheduling SCHEDULING_UNSPECIFIED SILENT WHEN_IDLE INTERRUPT
CodeLanguage LANGUAGE_UNSPECIFIED PYTHON
CodeOutcome OUTCOME_UNSPECIFIED OUTCOME_OK OUTCOME_FAILED OUTCOME_DEADLINE_EXCEEDED
ToolType TOOL_TYPE_UNSPECIFIED GOOGLE_SEARCH_WEB GOOGLE_SEARCH_IMAGE URL_CONTEXT GOOGLE_MAPS FILE_SEARCH
HarmCategory HARM_CATEGORY_UNSPECIFIED HARM_CATEGORY_DEROGATORY HARM_CATEGORY_TOXICITY HARM_CATEGORY_VIOLENCE
    HARM_CATEGORY_SEXUAL HARM_CATEGORY_MEDICAL HARM_CATEGORY_DANGEROUS HARM_CATEGORY_HARASSMENT
    HARM_CATEGORY_HATE_SPEECH HARM_CATEGORY_SEXUALLY_EXPLICIT HARM_CATEGORY_DANGEROUS_CONTENT
    HARM_CATEGORY_CIVIC_INTEGRITY HARM_CATEGORY_JAILBREAK
HarmBlockThreshold HARM_BLOCK_THRESHOLD_UNSPECIFIED BLOCK_LOW_AND_ABOVE BLOCK_MEDIUM_AND_ABOVE BLOCK_ONLY_HIGH
    BLOCK_NONE OFF
FunctionBehavior UNSPECIFIED BLOCKING NON_BLOCKING
DynamicRetrievalMode MODE_UNSPECIFIED MODE_DYNAMIC
ComputerEnvironment ENVIRONMENT_UNSPECIFIED ENVIRONMENT_BROWSER ENVIRONMENT_MOBILE ENVIRONMENT_DESKTOP
SafetyPolicy SAFETY_POLICY_UNSPECIFIED FINANCIAL_TRANSACTIONS SENSITIVE_DATA_MODIFICATION COMMUNICATION_TOOL
    ACCOUNT_CREATION DATA_MODIFICATION USER_CONSENT_MANAGEMENT LEGAL_TERMS_AND_AGREEMENTS
FunctionCallingMode MODE_UNSPECIFIED AUTO ANY NONE VALIDATED
Modality MODALITY_UNSPECIFIED TEXT IMAGE AUDIO VIDEO
ThinkingLevel THINKING_LEVEL_UNSPECIFIED MINIMAL LOW MEDIUM HIGH
Delivery DELIVERY_UNSPECIFIED INLINE URI
AudioFormat MIME_TYPE_UNSPECIFIED AUDIO_MP3 AUDIO_OGG_OPUS AUDIO_L16 AUDIO_WAV AUDIO_ALAW AUDIO_MULAW
ImageFormat MIME_TYPE_UNSPECIFIED IMAGE_JPEG
ImageAspectRatio ASPECT_RATIO_UNSPECIFIED ASPECT_RATIO_ONE_BY_ONE ASPECT_RATIO_TWO_BY_THREE ASPECT_RATIO_THREE_BY_TWO
    ASPECT_RATIO_THREE_BY_FOUR ASPECT_RATIO_FOUR_BY_THREE ASPECT_RATIO_FOUR_BY_FIVE ASPECT_RATIO_FIVE_BY_FOUR
    ASPECT_RATIO_NINE_BY_SIXTEEN ASPECT_RATIO_SIXTEEN_BY_NINE ASPECT_RATIO_TWENTY_ONE_BY_NINE
    ASPECT_RATIO_ONE_BY_EIGHT ASPECT_RATIO_EIGHT_BY_ONE ASPECT_RATIO_ONE_BY_FOUR ASPECT_RATIO_FOUR_BY_ONE
ImageSize IMAGE_SIZE_UNSPECIFIED IMAGE_SIZE_FIVE_TWELVE IMAGE_SIZE_ONE_K IMAGE_SIZE_TWO_K IMAGE_SIZE_FOUR_K
TextFormat MIME_TYPE_UNSPECIFIED APPLICATION_JSON TEXT_PLAIN
TranscriptionMode MODE_UNSPECIFIED VERBATIM SMART
SchemaType TYPE_UNSPECIFIED STRING NUMBER INTEGER BOOLEAN ARRAY OBJECT NULL
TaskType TASK_TYPE_UNSPECIFIED RETRIEVAL_QUERY RETRIEVAL_DOCUMENT SEMANTIC_SIMILARITY CLASSIFICATION CLUSTERING
    QUESTION_ANSWERING FACT_VERIFICATION CODE_RETRIEVAL_QUERY
"""

Shape = Literal["one", "list", "map"]


@dataclass(frozen=True, slots=True)
class Field:
    """One field: JSON name, proto name, the code or name of its type, shape, and its oneof or an empty string."""

    name: str
    proto: str
    type: str
    shape: Shape
    group: str


@dataclass(frozen=True, slots=True)
class Message:
    """One message. ``lookup`` finds a field by either spelling."""

    name: str
    fields: tuple[Field, ...]
    lookup: dict[str, Field]


def snake(name: str) -> str:
    """The proto spelling of a camelCase name."""
    return re.sub(r"[A-Z]", lambda letter: "_" + letter.group().lower(), name)


def _entries(table: str) -> list[list[str]]:
    return [entry.split() for entry in re.split(r"\n(?=\S)", table) if entry.strip()]


def _field(text: str) -> Field:
    name, _, rest = text.partition(":")
    kind, _, group = rest.partition("|")
    shape: Shape = "one"
    if kind.endswith("*"):
        kind, shape = kind[:-1], "list"
    elif kind.startswith("{"):
        kind, shape = kind[1:-1], "map"
    return Field(name, snake(name), kind, shape, group)


def _message(name: str, fields: list[str]) -> Message:
    parsed = tuple(_field(text) for text in fields)
    return Message(name, parsed, {f.proto: f for f in parsed} | {f.name: f for f in parsed})


@cache
def messages() -> dict[str, Message]:
    """All messages by name."""
    return {name: _message(name, fields) for name, *fields in _entries(_MESSAGES)}


@cache
def enums() -> dict[str, tuple[str, ...]]:
    """All enums by name; a value's number is its index."""
    return {name: tuple(values) for name, *values in _entries(_ENUMS)}
