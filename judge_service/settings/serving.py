"""Settings of the Lambda function and the HTTP service."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

Port = Annotated[int, Meta(ge=0, le=65_535)]


class FunctionSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The AWS Lambda reward function."""

    margin_s: Annotated[
        float,
        Meta(
            ge=0.1,
            le=60,
            description="seconds before the function's timeout at which it answers",
        ),
    ] = 1.0
    at_deadline: Annotated[
        Literal["answer", "fail"],
        Meta(
            description=(
                "at that time `answer` returns the judged rows and treats the rest by `unscored`;"
                " `fail` fails the batch, which can be sent again"
            )
        ),
    ] = "answer"
    max_reply_bytes: Annotated[
        int,
        Meta(
            ge=10_000,
            le=20_000_000,
            description="a longer reply loses its explanations, then fails; Lambda's limit is 6 MB",
        ),
    ] = 6_000_000
    reply_queue_url: Annotated[
        str,
        Meta(
            max_length=2048,
            description="SQS queue of the answers to queued rollouts (docs/contracts.md)",
        ),
    ] = ""
    rollout_table: Annotated[
        str,
        Meta(
            max_length=1024,
            description=(
                "DynamoDB table of queued rollouts that wait for their generation; partition key"
                " `sample_id` (string), time to live on `expires_at`"
            ),
        ),
    ] = ""


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
        int, Meta(ge=1, le=64, description="worker processes of the port; they share the quota")
    ] = 1
    max_body_bytes: Annotated[
        int,
        Meta(
            ge=1024,
            le=100_000_000,
            description=(
                "a larger body is refused while it arrives; reading 6 MB of JSON blocks the worker for"
                " about 50 ms"
            ),
        ),
    ] = 6_000_000
    body_timeout_s: Annotated[
        float, Meta(gt=0, le=600, description="a body that takes longer to arrive is refused")
    ] = 30.0
    header_timeout_s: Annotated[
        float,
        Meta(gt=0, le=600, description="a request whose headers take longer to arrive is dropped"),
    ] = 10.0
    max_connections: Annotated[
        int,
        Meta(ge=1, le=100_000, description="most open connections of a worker; more are refused"),
    ] = 4096
    max_held_samples: Annotated[
        int,
        Meta(
            ge=1,
            le=10_000_000,
            description="most unfinished samples of a worker; more are refused",
        ),
    ] = 20_000
    max_held_bytes: Annotated[
        int,
        Meta(ge=1024, le=100_000_000_000, description="most bytes of their bodies"),
    ] = 256_000_000
    unready_s: Annotated[
        float,
        Meta(
            ge=0,
            le=60,
            description="on SIGTERM, seconds of listening after readiness ends",
        ),
    ] = 1.0
    drain_s: Annotated[
        float,
        Meta(
            ge=0,
            le=3600,
            description="on SIGTERM, seconds for requests in flight; the rest is told to retry",
        ),
    ] = 20.0
    api_keys_file: Annotated[
        str,
        Meta(description="TOML file of API keys (`judge keys new`); empty allows every caller"),
    ] = ""
    admin_port: Annotated[
        Port | None,
        Meta(
            description=(
                "port of `/metrics`, `/dashboard` and `/openapi.json`, without API keys; by default they"
                " are on `port`"
            )
        ),
    ] = None
    admin_pages: Annotated[bool, Meta(description="whether to serve these pages")] = True
    jobs_dir: Annotated[
        str,
        Meta(
            description=(
                "directory on a local disk where jobs (`/v1/jobs`) are kept; empty turns jobs off"
            )
        ),
    ] = ""
    max_job_samples: Annotated[
        int, Meta(ge=1, le=10_000_000, description="a longer job is refused")
    ] = 100_000
    max_job_bytes: Annotated[
        int, Meta(ge=1024, le=100_000_000_000, description="a larger job is refused")
    ] = 1_000_000_000
    max_jobs: Annotated[
        int,
        Meta(
            ge=1,
            le=10_000,
            description=(
                "most unfinished jobs, of which a tenant may have its share; ten times as many are kept"
            ),
        ),
    ] = 100
    jobs_kept_s: Annotated[
        float,
        Meta(gt=0, le=31_536_000, description="a finished job is deleted after this time, seconds"),
    ] = 604_800.0
