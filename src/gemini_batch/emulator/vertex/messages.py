"""The body that creates a BatchPredictionJob, as protobuf's JSON mapping reads it.

Names may be camelCase or snake_case; a name that the message does not have is refused, with its path. The names are
those of the API's reference (v1 and v1beta1, November 2026). What the emulator has no use for is read as any value.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gemini_batch.emulator.messages import errors
from gemini_batch.emulator.messages.protojson import BadBody, read_body
from gemini_batch.protocol.spelling import snake

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gemini_batch.emulator.messages.calls import Call

#: A string, a list of strings, a map from strings to strings, any value; or the fields of a message.
_TEXT, _TEXTS, _MAP, _ANY = "s", "s*", "s{}", "v"
_JOB: dict[str, Any] = {
    "name": _TEXT,
    "displayName": _TEXT,
    "model": _TEXT,
    "modelVersionId": _TEXT,
    "inputConfig": {
        "instancesFormat": _TEXT,
        "gcsSource": {"uris": _TEXTS},
        "bigquerySource": {"inputUri": _TEXT},
        "vertexMultimodalDatasetSource": {"datasetName": _TEXT},
    },
    "outputConfig": {
        "predictionsFormat": _TEXT,
        "gcsDestination": {"outputUriPrefix": _TEXT},
        "bigqueryDestination": {"outputUri": _TEXT},
        "vertexMultimodalDatasetDestination": {
            "bigqueryDestination": {"outputUri": _TEXT},
            "displayName": _TEXT,
        },
    },
    "labels": _MAP,
    "serviceAccount": _TEXT,
    **dict.fromkeys(
        (
            "unmanagedContainerModel",
            "instanceConfig",
            "modelParameters",
            "dedicatedResources",
            "manualBatchTuningParameters",
            "generateExplanation",
            "explanationSpec",
            "outputInfo",
            "state",
            "error",
            "partialFailures",
            "resourcesConsumed",
            "completionStats",
            "createTime",
            "startTime",
            "endTime",
            "updateTime",
            "encryptionSpec",
            "modelMonitoringConfig",
            "modelMonitoringStatsAnomalies",
            "modelMonitoringStatus",
            "disableContainerLogging",
            "satisfiesPzs",
            "satisfiesPzi",
        ),
        _ANY,
    ),
}


def read_job(call: Call) -> dict[str, Any]:
    """The job in the body of a call, in camelCase. Raises :class:`errors.ApiFailure` (400)."""
    try:
        value = read_body(call.body)
    except BadBody as error:
        raise errors.invalid(f"Invalid JSON payload received. {error}") from None
    found: list[tuple[str, str]] = []
    made = _read(_JOB, value, "", found, lenient=call.lenient)
    if found:
        raise errors.invalid_fields(found)
    return made


def _read(
    fields: Mapping[str, Any], value: Any, path: str, found: list[tuple[str, str]], *, lenient: bool
) -> dict[str, Any]:
    at = f"'{path or 'batch_prediction_job'}'"
    if not isinstance(value, dict):
        found.append((path, f"Invalid value at {at}, expected an object"))
        return {}
    known = {spelling: name for name in fields for spelling in (name, snake(name))}
    made: dict[str, Any] = {}
    for key, inner in value.items():
        name = known.get(key)
        # The body is the message itself, so its own fields are named with it.
        place = f"{path or 'batch_prediction_job'}.{snake(key)}"
        if name is None:
            if not lenient:
                text = f'Invalid JSON payload received. Unknown name "{key}" at {at}: Cannot find field.'
                found.append((path or "batch_prediction_job", text))
        elif inner is not None:
            kind = fields[name]
            if isinstance(kind, dict):
                made[name] = _read(kind, inner, place, found, lenient=lenient)
            elif _fits(kind, one := [inner] if kind == _TEXTS and isinstance(inner, str) else inner):
                made[name] = one
            else:
                found.append((place, f"Invalid value at '{place}' (TYPE_STRING)"))
    return made


def _fits(kind: str, value: Any) -> bool:
    match kind:
        case "s":
            return isinstance(value, str)
        case "s*":
            return isinstance(value, list) and all(isinstance(one, str) for one in value)
        case "s{}":
            return isinstance(value, dict) and all(isinstance(one, str) for one in value.values())
        case _:
            return True
