"""Generates the JSON Schema of rubric files, for editors, from the data classes that read them."""

from collections.abc import Sequence
from typing import Any

import msgspec

from judge_service.grading.rubric.forms import RubricFile

NULL = {"type": "null"}
DIALECT = "https://json-schema.org/draft/2020-12/schema"


def rubric_schema(verifiers: Sequence[str]) -> dict[str, Any]:
    """A schema that rejects what `read_rubric_file` rejects, as far as a schema can.

    verifiers: the known kinds of verifier.
    """
    forms = {name: _mended(form) for name, form in _forms().items()}
    forms["CriterionForm"]["required"].remove("kind")  # `judge` is the default
    forms["VerifiedForm"]["properties"]["verify"] = {
        "enum": sorted(verifiers),
        "description": forms["VerifiedForm"]["properties"]["verify"]["description"],
    }
    top = forms.pop("RubricFile")
    return {"$schema": DIALECT, **top, "title": "judge-service rubric", "$defs": forms}


def _forms() -> dict[str, dict[str, Any]]:
    _, forms = msgspec.json.schema_components((RubricFile,), ref_template="#/$defs/{name}")
    return forms


def _mended(value: Any) -> Any:
    """Removes what TOML or JSON Schema does not have: null, `discriminator`, Python's meaning of `$`."""
    if isinstance(value, list):
        return [_mended(inner) for inner in value if inner != NULL]
    if not isinstance(value, dict):
        return value
    kept = {key: _mended(inner) for key, inner in value.items() if key != "discriminator"}
    if kept.get("default", "") is None:
        del kept["default"]
    if isinstance(kept.get("pattern"), str):
        kept["pattern"] = kept["pattern"].replace(r"\Z", "$")
    if len(kept.get("anyOf", ())) == 1:
        kept |= kept.pop("anyOf")[0]
    return kept
