"""A simple reward function with boto3: one sample after the other, with exponential back-off.

`function.py` compares the Lambda function with it. It asks for a number from 0 to 1 in 10 tokens, like
published handlers for this purpose, and has no concurrency, no deadline and no quota.
"""

import os
import time
from typing import Any

import boto3
from botocore.exceptions import ClientError

MAX_TRIES = 50
SYSTEM = "Output ONLY a number between 0.0 and 1.0, nothing else."

judge = boto3.client(
    "bedrock-runtime", endpoint_url=os.environ.get("JUDGE_BEDROCK_ENDPOINT_URL") or None
)


def lambda_handler(event: list[dict[str, Any]], _context: object) -> list[dict[str, Any]]:
    return [{"id": row["id"], "aggregate_reward_score": grade(row)} for row in event]


def grade(row: dict[str, Any]) -> float:
    answer = row["messages"][-1]["content"]
    question = f"How similar are these?\n\nA: {answer}\n\nB: {row['reference_answer']}"
    for attempt in range(MAX_TRIES):
        try:
            reply = judge.converse(
                modelId=os.environ["JUDGE_MODEL"],
                system=[{"text": SYSTEM}],
                messages=[{"role": "user", "content": [{"text": question}]}],
                inferenceConfig={"temperature": 0.0, "maxTokens": 10},
            )
            return float(reply["output"]["message"]["content"][0]["text"])
        except ClientError as error:
            if "ThrottlingException" not in str(error):
                return 0.0
            time.sleep(2**attempt)
        except ValueError:
            return 0.0
    return 0.0
