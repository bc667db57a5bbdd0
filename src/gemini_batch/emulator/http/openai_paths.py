"""What is different on the paths under ``/v1beta/openai``: where the key is, and what is not served."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini_batch.emulator.messages.errors import ApiFailure, invalid, not_found

if TYPE_CHECKING:
    from starlette.datastructures import Headers

#: Operations of these paths have names that begin like this.
PREFIX = "openai."
_VERSION = "v1beta"
_BEARER = "bearer "
_FILES = (
    "The emulator does not serve files on the OpenAI-compatible paths, and neither does the service. Upload the input "
    "with the Files API (POST /upload/v1beta/files), and download the output at "
    "/v1beta/{output_file_id}:download?alt=media."
)


def key(headers: Headers) -> str:
    """The API key, which OpenAI's clients send as a bearer token. Raises :class:`ApiFailure` (400) if there is none."""
    given = headers.get("authorization", "")
    found = given[len(_BEARER) :].strip() if given.lower().startswith(_BEARER) else ""
    if not found:
        raise invalid("Missing or invalid Authorization header.")
    return found


def check_version(version: str) -> None:
    """Refuse a version under which the service is not known to serve these paths. Raises :class:`ApiFailure` (404)."""
    if version != _VERSION:
        raise not_found(
            f"The OpenAI-compatible paths are served under /{_VERSION}/openai, not under /{version}/openai."
        )


def refusal(path: str) -> ApiFailure | None:
    """Why a path that no operation has is refused, if it is one of these; else None."""
    parts = path.strip("/").split("/")
    if parts[1:2] != ["openai"]:
        return None
    if parts[2:3] == ["files"]:
        return not_found(_FILES)
    return not_found(
        f"The emulator does not serve {path}. Of the OpenAI-compatible paths it serves chat/completions, "
        "embeddings, models and batches."
    )
