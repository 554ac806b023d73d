"""SageMaker's InvokeEndpoint in front of a container that speaks chat completions.

An error of the model arrives as a ModelError that holds the container's status and body.
Source: docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from judge_service.simulator import chat
from judge_service.simulator.faults import ApiError

ACCOUNT = "123456789012"
NOT_FOUND = "ResourceNotFoundException"
NAMES: Mapping[str, str] = {
    "ValidationException": "ValidationError",
    "InternalServerException": "InternalFailure",
    "ServiceUnavailableException": "ServiceUnavailable",
    NOT_FOUND: "ValidationError",
}
"""SageMaker's names of errors by Bedrock's; names that are not listed are the same."""

_encode = msgspec.json.Encoder().encode


def write_error(error: ApiError) -> tuple[int, str, bytes]:
    """Status, header lines and body of an error."""
    if error.by_model:
        return _model_error(error)
    message, status = error.message, error.status
    if error.code == NOT_FOUND:
        message, status = f"Endpoint simulated of account {ACCOUNT} not found.", 400
    name = NAMES.get(error.code, error.code)
    return status, _headers(name), _encode({"Message": message})


def _model_error(error: ApiError) -> tuple[int, str, bytes]:
    status, _, said = chat.write_error(error)
    if status == 408:  # the container runs but does not answer
        status, said = 0, b"Your invocation timed out while waiting for a response from container"
    original, side = said.decode(), "client" if 400 <= status < 500 else "server"
    body: dict[str, Any] = {
        "ErrorCode": f"{side.upper()}_ERROR_FROM_MODEL",
        "LogStreamArn": f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:/aws/sagemaker/Endpoints/simulated",
        "Message": f'Received {side} error ({status}) from primary with message "{original}".',
        "OriginalMessage": original,
        "OriginalStatusCode": status,
    }
    return 424, _headers("ModelError"), _encode(body)


def _headers(name: str) -> str:
    return f"x-amzn-errortype: {name}\r\n"
