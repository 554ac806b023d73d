"""Amazon resource names of what the settings name, with CloudFormation's pseudo parameters as gaps."""

import re

from msgspec import Struct

ACCOUNT = "${AWS::AccountId}"
REGION = "${AWS::Region}"
PARTITION = "${AWS::Partition}"

FUNCTION_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
REGION_NAME = re.compile(r"[a-z]{2}(-[a-z]+)+-\d")
ACCOUNT_ID = re.compile(r"\d{12}")


class Place(Struct, frozen=True):
    """An account in a region. The defaults are filled in by CloudFormation (`Fn::Sub`)."""

    account: str = ACCOUNT
    region: str = REGION

    @property
    def partition(self) -> str:
        """Known from the region's name, for CloudFormation to fill in otherwise."""
        if self.region == REGION:
            return PARTITION
        prefix = self.region.partition("-")[0]
        govcloud = self.region.startswith("us-gov-")
        return "aws-us-gov" if govcloud else "aws-cn" if prefix == "cn" else "aws"

    def arn(self, service: str, resource: str) -> str:
        """Of something that belongs to the account."""
        return f"arn:{self.partition}:{service}:{self.region}:{self.account}:{resource}"

    def foundation_model(self, model: str, region: str | None = None) -> str:
        """Of a model, which belongs to nobody. region: another one, or `""` for the global one."""
        where = self.region if region is None else region
        return f"arn:{self.partition}:bedrock:{where}::foundation-model/{model}"
