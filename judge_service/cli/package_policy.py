"""`judge package policy`: prints IAM policies as JSON."""

import argparse
import json
import os
import sys

from judge_service.cli.configuration import read_settings
from judge_service.errors import SettingsError
from judge_service.packaging.arn import ACCOUNT, ACCOUNT_ID, REGION, REGION_NAME, Place
from judge_service.packaging.policy import function_policy
from judge_service.packaging.trainers import SERVICES, trainer_role

FUNCTION = "SageMaker-judge"

FOR_FN_SUB = (
    "judge: CloudFormation's Fn::Sub must fill in ${AWS::...}; for a policy that IAM takes as it is, give"
    " --account and --region"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--function", default=FUNCTION, metavar="NAME", help="%(default)s")
    parser.add_argument("--account", default=ACCOUNT, help="12 digits (%(default)s, for Fn::Sub)")
    parser.add_argument(
        "--region",
        action="append",
        default=[],
        help=f"region of the function ({REGION}); further ones: the targets of its inference profile",
    )
    parser.add_argument(
        "--queue", default="", metavar="ARN", help="the queue that feeds the function, if any"
    )
    parser.add_argument(
        "--trainer",
        choices=SERVICES,
        help="instead: trust and permission policies of the role that calls the function",
    )


def run(arguments: argparse.Namespace) -> None:
    """Prints the document.

    Raises SettingsError.
    """
    place = _place(arguments)
    if arguments.trainer:
        document = trainer_role(arguments.trainer, place, function=arguments.function)
    else:
        document = function_policy(
            read_settings(arguments),
            place,
            function=arguments.function,
            config=os.environ.get("JUDGE_CONFIG", ""),
            queue_arn=arguments.queue,
            more_regions=arguments.region[1:],
        )
    text = json.dumps(document, indent=2)
    if "${AWS::" in text:
        print(FOR_FN_SUB, file=sys.stderr)
    print(text)


def _place(arguments: argparse.Namespace) -> Place:
    for region in arguments.region:
        if not REGION_NAME.fullmatch(region):
            raise SettingsError(f"--region: `{region}` is not the name of an AWS region")
    if arguments.account != ACCOUNT and not ACCOUNT_ID.fullmatch(arguments.account):
        raise SettingsError(f"--account: `{arguments.account}` is not 12 digits")
    return Place(arguments.account, arguments.region[0] if arguments.region else REGION)
