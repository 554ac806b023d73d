"""The IAM role of a trainer that calls the function: it may invoke this function only."""

from typing import Any

from judge_service.errors import SettingsError
from judge_service.packaging.arn import FUNCTION_NAME, Place

SERVICES = {
    "bedrock": "bedrock.amazonaws.com",
    "sagemaker": "sagemaker.amazonaws.com",
    "hyperpod": "sagemaker.amazonaws.com",
}
"""The service that assumes the role, by trainer: the Bedrock service role, the execution role of a SageMaker
training job or serverless customization, the execution role of a HyperPod cluster."""


def trainer_role(trainer: str, place: Place, *, function: str) -> dict[str, Any]:
    """Makes two policy documents: who may assume the role, and what the role may do.

    Raises SettingsError for a function name that the trainer would refuse.
    """
    if not FUNCTION_NAME.fullmatch(function):
        raise SettingsError(
            f"`{function}` is not a name of a Lambda function (letters, digits, - and _)"
        )
    if "SageMaker" not in function and trainer != "bedrock":
        raise SettingsError(
            f"SageMaker cannot call a function named `{function}`: the name must contain `SageMaker`;"
            " begin it with `SageMaker-`"
        )
    return {
        "TrustPolicy": _document(
            {
                "Effect": "Allow",
                "Principal": {"Service": SERVICES[trainer]},
                "Action": "sts:AssumeRole",
                "Condition": {"StringEquals": {"aws:SourceAccount": place.account}},
            }
        ),
        "PermissionPolicy": _document(
            {
                "Effect": "Allow",
                "Action": ["lambda:InvokeFunction"],
                "Resource": [place.arn("lambda", f"function:{function}")],
            }
        ),
    }


def _document(statement: dict[str, Any]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": [statement]}
