"""Amazon resource names for policies; unknown parts are CloudFormation's pseudo parameters."""

import re

from msgspec import Struct

ACCOUNT = "${AWS::AccountId}"
REGION = "${AWS::Region}"
PARTITION = "${AWS::Partition}"

FUNCTION_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
REGION_NAME = re.compile(r"[a-z]{2}(-[a-z]+)+-\d")
ACCOUNT_ID = re.compile(r"\d{12}")


class Place(Struct, frozen=True):
    """An account in a region. CloudFormation (`Fn::Sub`) fills in the defaults."""

    account: str = ACCOUNT
    region: str = REGION

    @property
    def partition(self) -> str:
        """The partition by the region's name; CloudFormation fills it in if the region is unknown."""
        if self.region == REGION:
            return PARTITION
        prefix = self.region.partition("-")[0]
        govcloud = self.region.startswith("us-gov-")
        return "aws-us-gov" if govcloud else "aws-cn" if prefix == "cn" else "aws"

    def arn(self, service: str, resource: str) -> str:
        """The ARN of a resource of the account."""
        return f"arn:{self.partition}:{service}:{self.region}:{self.account}:{resource}"

    def foundation_model(self, model: str, region: str | None = None) -> str:
        """The ARN of a model, which has no account. region: another region, or `""` for the global model."""
        where = self.region if region is None else region
        return f"arn:{self.partition}:bedrock:{where}::foundation-model/{model}"
