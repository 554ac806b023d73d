"""The resources that a function must be allowed to invoke, for each kind of Bedrock model name.

A cross-region inference profile forwards a call to a region of its geography, so the function needs access
to the profile and, through this profile only, to the model in each of those regions.
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
"""The regions to which a geography's profiles forward: the union over its models, so a model may use fewer.
`aws bedrock get-inference-profile` lists those of one profile; `--region` adds regions that are missing here.
The model of a global profile has an ARN without a region.
"""

ACTION = "bedrock:InvokeModel"
"""The IAM action; Converse has none of its own."""


def statements(model: str, place: Place, more_regions: Iterable[str]) -> list[dict[str, Any]]:
    """The policy statements for one model id, inference profile or ARN, called from `place`.

    more_regions: regions to which the profile forwards in addition to `REGIONS`.

    Raises SettingsError for a name that does not identify the model behind it.
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
        raise SettingsError(f"`model`: {arn} is not an ARN of one model or inference profile")
    if kind == "inference-profile" and geography in REGIONS:
        return _through(arn, base, geography, place, more_regions)
    if kind in ("inference-profile", "application-inference-profile"):
        raise SettingsError(
            f"`model`: {arn} does not identify its model, so no policy can be made for it;"
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
