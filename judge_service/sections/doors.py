"""Settings of the two doors that wait for callers: the Lambda function and the HTTP service."""

from typing import Annotated, Literal

from msgspec import Meta, Struct


class FunctionSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The AWS Lambda reward function."""

    margin_s: Annotated[
        float,
        Meta(
            ge=0.1,
            le=60,
            description="seconds before the function's timeout at which the answer is made",
        ),
    ] = 1.0
    at_deadline: Annotated[
        Literal["answer", "fail"],
        Meta(
            description=(
                "at the margin, `answer` returns what is judged and lets the rest follow"
                " `unscored`; `fail` fails the batch, to be sent again"
            )
        ),
    ] = "answer"
    max_reply_bytes: Annotated[
        int,
        Meta(
            ge=10_000,
            le=20_000_000,
            description="a longer reply loses its explanations, then fails; Lambda carries 6 MB",
        ),
    ] = 6_000_000


class ServiceSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The HTTP service (`judge serve`)."""

    host: Annotated[str, Meta(description="address to listen on")] = "0.0.0.0"  # noqa: S104 - a container's
    port: Annotated[
        int,
        Meta(
            ge=0, le=65_535, description="port to listen on; `SAGEMAKER_BIND_TO_PORT` overrides it"
        ),
    ] = 8080
    workers: Annotated[
        int, Meta(ge=1, le=64, description="processes on the one port; they share the quota")
    ] = 1
    max_body_bytes: Annotated[
        int,
        Meta(
            ge=1024,
            le=100_000_000,
            description=(
                "a larger body is refused while it arrives; reading 6 MB of JSON holds up every"
                " caller of the worker for about 50 ms"
            ),
        ),
    ] = 6_000_000
    body_timeout_s: Annotated[
        float, Meta(gt=0, le=600, description="a body that takes longer to arrive is refused")
    ] = 30.0
