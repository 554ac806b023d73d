"""Reads the wire forms of text (strings, content blocks, objects) as plain text."""

import math
from collections.abc import Mapping
from typing import Any

from judge_service.errors import WireError
from judge_service.wire.jsontext import render

TEXT_BLOCKS = frozenset({None, "text", "input_text", "output_text"})
"""Types of content blocks that are read; images, tool calls and reasoning are not part of the text."""

MODALITIES = {
    # OpenAI's chat and Responses APIs, and what vLLM and SGLang add to them
    "image_url": "image",
    "input_image": "image",
    "image_file": "image",
    "input_audio": "audio",
    "audio_url": "audio",
    "video_url": "video",
    "input_video": "video",
    "file": "document",
    "input_file": "document",
    # Anthropic's messages, Bedrock's Converse (the name is the block's only key), Hugging Face's templates
    "image": "image",
    "audio": "audio",
    "video": "video",
    "document": "document",
    # an item of the Responses API
    "image_generation_call": "image",
}
"""The kind of content by the type of a content block, for blocks without text."""

MESSAGE_FIELDS = {"audio": "audio", "images": "image"}
"""The kind of content by the field of a message, beside `content`: OpenAI's audio, OpenRouter's images."""

MODALITY_COLUMNS = {
    # columns beside a prompt with a placeholder: TRL, verl, OpenRLHF, LLaMA-Factory
    "images": "image",
    "videos": "video",
    "audios": "audio",
    "multi_modal_data": "image",
    "multi_modal_inputs": "image",
}
"""The kind of content by the column of a row, for columns with content of the prompt that is not text."""

TEXT_FIELDS = frozenset({"text", "answer", "ground_truth", "reference_answer"})
"""Fields that wrap a text: an object with one of these as its only field is that text."""

JSON_NAMES = {
    str: "a string",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    type(None): "null",
    list: "a list",
    tuple: "a list",
    dict: "an object",
}


def clean_text(text: str) -> str:
    """The text with lone surrogates replaced, so that it can be encoded as UTF-8."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def read_text(content: Any, path: str) -> str:
    """The text of a string, a list of content blocks, an object with `text`, or null (no text).

    The texts of several blocks are joined with a newline.
    """
    if isinstance(content, str):
        return clean_text(content)
    if content is None:
        return ""
    if isinstance(content, list | tuple):
        blocks = [_read_block(block, f"{path}[{i}]") for i, block in enumerate(content)]
        return "\n".join(text for text in blocks if text)
    if isinstance(content, dict) and "text" in content:
        return _read_string(content["text"], f"{path}.text")
    raise WireError(path, f"must be text, a list of content blocks or null, not {name_of(content)}")


def unseen_in(content: Any) -> tuple[str, ...]:
    """The kinds of content in a list of content blocks that are not text; sorted, each once."""
    if not isinstance(content, list | tuple):
        return ()
    found = {modality for block in content if (modality := _modality(block))}
    return tuple(sorted(found))


def unseen_of(message: Mapping[str, Any]) -> tuple[str, ...]:
    """The kinds of content that are not text in a message: in its content, and beside it."""
    found = unseen_in(message.get("content"))
    beside = {kind for name, kind in MESSAGE_FIELDS.items() if message.get(name)}
    return tuple(sorted({*found, *beside})) if beside else found


def unseen_beside(row: Mapping[str, Any]) -> tuple[str, ...]:
    """The kinds of content of a row's prompt in separate columns, see `MODALITY_COLUMNS`."""
    return tuple(sorted({kind for name, kind in MODALITY_COLUMNS.items() if row.get(name)}))


def _modality(block: Any) -> str | None:
    if not isinstance(block, dict):
        return None
    kind = block.get("type")
    if isinstance(kind, str):
        return MODALITIES.get(kind)
    return next((MODALITIES[name] for name in block if name in MODALITIES), None)


def read_reference(value: Any, path: str) -> str | None:
    """A reference answer as text, `None` when the field is empty.

    A number or any other object becomes compact JSON; an object with one of `TEXT_FIELDS` as its only
    field is unwrapped.
    """
    if isinstance(value, dict) and len(value) == 1:
        ((name, inner),) = value.items()
        if name in TEXT_FIELDS and (inner is None or isinstance(inner, str | int | float)):
            value, path = inner, f"{path}.{name}"
    if isinstance(value, str):
        return clean_text(value) or None
    if value is None or value in ({}, []):
        return None
    return clean_text(render(value, path))


def read_id(value: Any, path: str) -> Any:
    """Checks that an id can be written as JSON, and returns it unchanged."""
    if not isinstance(value, str):
        _check_id(value, path, depth=0)
    return value


def name_of(value: Any) -> str:
    """JSON's name of the type of `value`."""
    return JSON_NAMES.get(type(value), f"a Python {type(value).__name__}")


def _check_id(value: Any, path: str, depth: int) -> None:
    if depth > 16:
        raise WireError(path, "is nested too deep for an id; use a string")
    if isinstance(value, dict):
        for key, inner in value.items():
            if not isinstance(key, str):
                raise WireError(path, "has a key that is not a string; use a string as id")
            _check_id(inner, path, depth + 1)
    elif isinstance(value, list):
        for inner in value:
            _check_id(inner, path, depth + 1)
    elif isinstance(value, int | float):
        if not _is_finite(value):
            raise WireError(path, "is not a finite number; use a string as id")
    elif value is not None and not isinstance(value, str):
        raise WireError(path, f"is {name_of(value)}, which JSON cannot hold; use a string as id")


def _is_finite(number: float) -> bool:
    try:
        return math.isfinite(number)
    except OverflowError:  # an integer beyond the range of a float
        return False


def _read_block(block: Any, path: str) -> str:
    if isinstance(block, str):
        return clean_text(block)
    if not isinstance(block, dict):
        raise WireError(path, f"must be a content block, not {name_of(block)}")
    kind = block.get("type")
    if "text" not in block or not (kind is None or isinstance(kind, str)):
        return ""
    return _read_string(block["text"], f"{path}.text") if kind in TEXT_BLOCKS else ""


def _read_string(value: Any, path: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise WireError(path, f"must be a string, not {name_of(value)}")
    return clean_text(value)
