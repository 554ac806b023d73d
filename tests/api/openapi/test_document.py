"""The OpenAPI document matches the service: working examples, all errors, all statuses."""

import json
from typing import Any

import jsonschema
import pytest
from fastapi import FastAPI

from judge_service.api import errors
from tests.api.conftest import Talk

JUDGING = ("/v1/rewards", "/v1/rank", "/invocations", "/get_reward", "/reward", "/verify")


@pytest.fixture
def document(app: FastAPI) -> dict[str, Any]:
    return json.loads(json.dumps(app.openapi()))  # type: ignore[no-any-return]


def operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (path, method, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


def test_every_operation_says_what_it_is_for(document: dict[str, Any]) -> None:
    unsaid = [path for path, _, one in operations(document) if not one.get("description")]

    assert not unsaid


@pytest.mark.parametrize("path", JUDGING)
async def test_the_examples_are_what_comes_and_goes(
    service: Talk, document: dict[str, Any], path: str
) -> None:
    operation = document["paths"][path]["post"]
    content = operation["requestBody"]["content"]["application/json"]
    shown = operation["responses"]["200"]["content"]["application/json"]

    answer = await service.post(path, content["example"])

    assert answer.status_code == 200
    assert _shape(answer.json()) == _shape(shown["example"])


@pytest.mark.parametrize("path", JUDGING)
async def test_requests_and_replies_fit_their_schemas(
    service: Talk, document: dict[str, Any], path: str
) -> None:
    operation = document["paths"][path]["post"]
    content = operation["requestBody"]["content"]["application/json"]
    answer = await service.post(path, content["example"])

    _check(document, content["example"], content["schema"])
    reply = operation["responses"]["200"]["content"]["application/json"]
    _check(document, answer.json(), reply["schema"])
    _check(document, reply["example"], reply["schema"])


async def test_an_error_fits_its_schema(service: Talk, document: dict[str, Any]) -> None:
    for body in (b"", b"[]", b'{"samples": 1}'):
        answer = await service.post("/v1/rewards", body)
        _check(document, answer.json(), document["components"]["schemas"]["Error"])


@pytest.mark.parametrize("path", JUDGING)
def test_every_error_of_a_judging_route_is_documented(document: dict[str, Any], path: str) -> None:
    responses = document["paths"][path]["post"]["responses"]

    assert {int(status) for status in responses} == {
        200, 400, 401, 403, 408, 413, 415, 429, 500, 503,
    }  # fmt: skip
    assert all("Retry-After" in responses[status]["headers"] for status in ("429", "503"))


def test_every_status_has_its_words_and_its_meaning() -> None:
    assert errors.CODES.keys() == errors.MEANINGS.keys()


async def test_a_path_that_is_not_there_and_a_wrong_method_are_errors_of_the_one_form(
    service: Talk, document: dict[str, Any]
) -> None:
    nowhere = await service.get("/v1/nowhere")
    wrong = await service.get("/v1/rewards")

    assert (nowhere.status_code, wrong.status_code) == (404, 405)
    for answer in (nowhere, wrong):
        _check(document, answer.json(), document["components"]["schemas"]["Error"])
    assert wrong.headers["allow"] == "POST"


async def test_the_document_is_served(service: Talk) -> None:
    assert (await service.get("/openapi.json")).json()["info"]["title"] == "judge-service"


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
async def test_pages_that_load_scripts_from_elsewhere_are_not_there(
    service: Talk, path: str
) -> None:
    assert (await service.get(path)).status_code == 404


def _check(document: dict[str, Any], value: Any, schema: dict[str, Any]) -> None:
    resolving = {**schema, "components": document["components"]}
    jsonschema.Draft202012Validator(resolving).validate(value)


def _shape(value: Any) -> Any:
    """Names and types, without the values. Whole numbers and others are both numbers."""
    if isinstance(value, dict):
        return {name: _shape(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_shape(inner) for inner in value]
    return "number" if isinstance(value, int | float) else type(value).__name__
