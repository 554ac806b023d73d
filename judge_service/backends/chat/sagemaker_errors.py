"""Maps the errors of SageMaker, and of the container behind it, to our errors.

The container's error arrives inside a ModelError (424): its status as `OriginalStatusCode`, its body as
`OriginalMessage`. A container that is full (429) or busy (503) has done no work, so the call is not charged.
Other failures follow the rule of `bedrock.errors`: if the model may have run, the call counts as charged.

https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html
"""

import re
from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from judge_service.aws.refusal import read_refusal
from judge_service.backends.bedrock.errors import kind_of
from judge_service.backends.chat.errors import (
    BUSY,
    Complaint,
    denial_of,
    failure_of,
    read_complaint,
)
from judge_service.backends.vocabulary.refusals import AWS_THROTTLED_CODES
from judge_service.errors import CallError, CredentialsError, Denied, Throttled, Unavailable
from judge_service.http.failures import printable, too_long
from judge_service.http.json_body import read_object
from judge_service.http.reply import Reply

_NOT_FOUND = re.compile(r"not (be )?found|could not find|does not exist", re.IGNORECASE)
_NOT_IN_SERVICE = re.compile(r"not (currently )?in.?service|not ready", re.IGNORECASE)
_COMPONENT = re.compile(r"inference.?component", re.IGNORECASE)
_TOO_LARGE = re.compile(
    r"length less than or equal|too large|exceed\w* .{0,40}(size|limit)", re.IGNORECASE
)

_BUSY: Mapping[str, Any] = {"backoff_s": 0.05}
_FAILED: Mapping[str, Any] = {"backoff_s": 0.05, "charged": True}
_MODEL_FAILED: Mapping[str, Any] = {"backoff_s": 0.5, "max_retries": 1, "charged": True}
_NOT_READY: Mapping[str, Any] = {"backoff_s": 1.0}


def container_complaint(reply: Reply) -> Complaint | None:
    """The container's error inside a ModelError, `None` for another reply.

    Its status is 0 if the container did not answer in time.
    """
    if reply.status != 424:
        return None
    body = read_object(reply.body)
    status = body.get("OriginalStatusCode")
    original = body.get("OriginalMessage")
    told = read_complaint(
        status if isinstance(status, int) else 500,
        original if isinstance(original, str) else b"",
        reply.retry_after_s(),
    )
    if told.message:
        return told
    message = printable(original) or printable(body.get("Message") or body.get("message"))
    return replace(told, message=message)


def error_of(reply: Reply, name: str, region: str) -> CallError:
    """The error of a reply whose status is not 200.

    name: the endpoint's.
    """
    complaint = container_complaint(reply)
    if complaint is not None:
        return error_of_container(complaint, name)
    refusal = read_refusal(reply)
    said = f"{refusal.status} {refusal.code} {refusal.message}".replace("  ", " ").strip()
    wait_s = refusal.retry_after_s
    if refusal.code == "modelnotreadyexception":
        return Unavailable(f"the judge failed ({said})", retry_after_s=wait_s, **_NOT_READY)
    if refusal.status == 429 or refusal.code in AWS_THROTTLED_CODES:
        return Throttled(f"the judge's quota has no room now ({said})", retry_after_s=wait_s)
    if refusal.status >= 500:  # includes 530: a dependency of SageMaker failed
        attributes = _BUSY if refusal.status in BUSY else _FAILED
        return Unavailable(f"the judge failed ({said})", retry_after_s=wait_s, **attributes)
    if kind_of(refusal) == "unidentified":
        return CredentialsError(
            f"SageMaker does not accept the credentials ({said}): renew them, and check the clock"
        )
    return _denied(refusal.status, refusal.message, said, name, region)


def error_of_container(complaint: Complaint, name: str) -> CallError:
    """The error of a container's complaint, in a ModelError or with status 200."""
    failure = failure_of(complaint)
    is_failed = isinstance(failure, Unavailable) and complaint.status not in BUSY
    if is_failed or complaint.status == 0:
        return Unavailable(
            f"the judge failed ({complaint.said})",
            retry_after_s=complaint.retry_after_s,
            **_MODEL_FAILED,
        )
    if failure is not None:
        return failure
    if complaint.status in (404, 405):
        return Denied(
            f"the container of endpoint {name} has no such model or path ({complaint.said}):"
            " check sagemaker.model_name, and that it serves chat completions at /invocations"
        )
    return denial_of(complaint, f"the container of endpoint {name}")


def _denied(status: int, message: str, said: str, name: str, region: str) -> CallError:
    if status in (401, 403):
        return Denied(
            f"SageMaker forbids the call ({said}): allow sagemaker:InvokeEndpoint on"
            f" {resource(name, region)}"
        )
    if _NOT_IN_SERVICE.search(message):
        text = f"endpoint {name} is not in service ({said}): wait until it is InService, then retry"
        return Unavailable(text, **_NOT_READY)
    if _COMPONENT.search(message):
        return Denied(
            f"endpoint {name} wants another inference component ({said}):"
            " check sagemaker.inference_component"
        )
    if status == 404 or _NOT_FOUND.search(message):
        return Denied(
            f"there is no endpoint {name} in {region} ({said}): check `model`, the region and that"
            " the endpoint is InService"
        )
    if status == 413 or _TOO_LARGE.search(message):
        return too_long(said)
    hint = ": check sagemaker.endpoint_url" if status < 400 else ""
    return Denied(f"SageMaker refuses the call ({said}){hint}")


def resource(name: str, region: str) -> str:
    """The ARN that an IAM policy must name; it has the endpoint in lower case."""
    partition = "aws-cn" if region.startswith("cn-") else "aws"
    if region.startswith("us-gov-"):
        partition = "aws-us-gov"
    return f"arn:{partition}:sagemaker:{region}:<account>:endpoint/{name.lower()}"
