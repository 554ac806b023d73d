"""Settings of log lines and CloudWatch metrics."""

from typing import Annotated, Literal

from msgspec import Meta, Struct


class LogSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One JSON line per sample, for people and for CloudWatch Logs Insights (docs/metrics.md)."""

    enabled: Annotated[
        bool, Meta(description="write lines to standard output; `false` writes nothing at all")
    ] = True
    sample_rate: Annotated[
        float,
        Meta(
            ge=0,
            le=1,
            description="share of the samples with a line; unscored and slow ones always have one",
        ),
    ] = 1.0
    slow_s: Annotated[
        float, Meta(gt=0, le=86_400, description="a sample that took longer, seconds, is slow")
    ] = 5.0
    candidate_text: Annotated[
        bool,
        Meta(description="add the first 2,000 characters of the response to its line"),
    ] = False
    explanations: Annotated[
        bool,
        Meta(
            description=(
                "add the judge's written reason (`reasoning = \"brief\"`) to a sample's line; it may quote"
                " the response"
            )
        ),
    ] = False
    service_name: Annotated[
        str,
        Meta(
            pattern=r"^[A-Za-z0-9_.-]{1,64}\Z",
            description="`service` in the lines; the metrics' dimension outside Lambda",
        ),
    ] = "judge-service"
    emf: Annotated[
        Literal["auto", "on", "off"],
        Meta(
            description=(
                "CloudWatch metrics in embedded metric format among the lines; `auto` is on in Lambda"
            )
        ),
    ] = "auto"
    emf_namespace: Annotated[
        str,
        Meta(
            pattern=r"^[A-Za-z0-9_.\-/#]{1,255}\Z",
            description="CloudWatch namespace of the metrics",
        ),
    ] = "JudgeService"
