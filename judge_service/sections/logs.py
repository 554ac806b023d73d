"""Settings of what is written about each sample."""

from typing import Annotated

from msgspec import Meta, Struct


class LogSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One JSON line per sample, for people and for CloudWatch Logs Insights."""

    sample_rate: Annotated[
        float,
        Meta(
            ge=0,
            le=1,
            description="share of the samples that get a line; unscored and slow ones always do",
        ),
    ] = 1.0
