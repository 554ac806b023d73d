"""What a function must be allowed to invoke, for each way there is to name a judge on Bedrock.

A cross-region inference profile forwards a call to a region of its geography, so the function needs
the profile and, through this profile only, the model in each of those regions.
"""

from collections.abc import Iterable
from typing import Any

from judge_service.errors import SettingsError
from judge_service.packaging.arn import Place

REGIONS: dict[str, tuple[str, ...]] = {
    "us": ("us-east-1", "us-east-2", "us-west-1", "us-west-2"),
    "eu": (
        "eu-central-1",
        "eu-north-1",
        "eu-south-1",
        "eu-south-2",
        "eu-west-1",
        "eu-west-2",
        "eu-west-3",
    ),
    "apac": (
        "ap-northeast-1",
        "ap-northeast-2",
        "ap-northeast-3",
        "ap-south-1",
        "ap-south-2",
        "ap-southeast-1",
        "ap-southeast-2",
        "ap-southeast-4",
    ),
    "jp": ("ap-northeast-1", "ap-northeast-3"),
    "au": ("ap-southeast-2", "ap-southeast-4"),
    "ca": ("ca-central-1", "ca-west-1"),
    "us-gov": ("us-gov-east-1", "us-gov-west-1"),
    "global": ("",),
}
"""Where the profiles of a geography forward to: the union over its models, so a given one may use
fewer. `aws bedrock get-inference-profile` lists a profile's own; `--region` adds what is missing here.
The global profiles' model has an ARN without a region.
"""

ACTION = "bedrock:InvokeModel"
"""Converse has no action of its own."""


def statements(model: str, place: Place, more_regions: Iterable[str]) -> list[dict[str, Any]]:
    """For one model id, inference profile or ARN, called from `place`.

    more_regions: where the profile forwards to besides `REGIONS`.

    Raises SettingsError for a name that does not tell which model is behind it.
    """
    if model.startswith("arn:"):
        return _of_arn(model, place, more_regions)
    geography, _, base = model.partition(".")
    if geography in REGIONS:
        profile = place.arn("bedrock", f"inference-profile/{model}")
        return _through(profile, base, geography, place, more_regions)
    return [_allow([place.foundation_model(model)])]


def _of_arn(arn: str, place: Place, more_regions: Iterable[str]) -> list[dict[str, Any]]:
    kind, _, name = arn.split(":", 5)[-1].partition("/")
    geography, _, base = name.partition(".")
    if arn.count(":") < 5 or "*" in arn or not name:
        raise SettingsError(f"`model`: {arn} is no ARN of one model or inference profile")
    if kind == "inference-profile" and geography in REGIONS:
        return _through(arn, base, geography, place, more_regions)
    if kind in ("inference-profile", "application-inference-profile"):
        raise SettingsError(
            f"`model`: {arn} does not tell which model it stands for, so no policy can be made of it;"
            " make one for the profile that it was copied from, and replace that profile's ARN by this"
        )
    return [_allow([arn])]


def _through(
    profile: str, base: str, geography: str, place: Place, more_regions: Iterable[str]
) -> list[dict[str, Any]]:
    own = place.region if geography == "global" else None
    regions = dict.fromkeys([*([own] if own else []), *REGIONS[geography], *more_regions])
    models = [place.foundation_model(base, region) for region in regions]
    through = {"StringEquals": {"bedrock:InferenceProfileArn": profile}}
    return [_allow([profile]), {**_allow(models), "Condition": through}]


def _allow(resources: list[str]) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": [ACTION], "Resource": resources}
