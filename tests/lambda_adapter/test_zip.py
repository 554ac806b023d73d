"""The built zip, unpacked, with nothing else on the path, under the real runtime client."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import threading
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from moto.server import ThreadedMotoServer

from judge_service.simulator import SimulatorConfig, simulate
from tests.lambda_adapter.runtime_api import RuntimeApi
from tests.lambda_adapter.validator import EVENTS, assert_valid, items_of
from tests.packaging import built

PYTHON = Path(sys.base_prefix) / "bin" / f"python{built.PYTHON}"
"""Not the environment's, which would find our sources and everything that is installed."""

IMAGE = ("awslambdaric", "simplejson", "snapshot_restore_py")
"""What Lambda's own image puts beside the standard library."""

CRITERIA = {"correctness", "safety", "format", "conciseness"}


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What Lambda mounts as /var/task."""
    folder = tmp_path_factory.mktemp("task")
    with zipfile.ZipFile(built.package().path) as packed:
        packed.extractall(folder)
    return folder


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("image")
    site = Path(str(find_spec("awslambdaric").origin)).parents[1]
    for name in (*IMAGE, "runtime_client"):
        for path in site.glob(f"{name}*"):
            copy = shutil.copytree if path.is_dir() else shutil.copyfile
            copy(path, folder / path.name)
    return folder


@pytest.fixture(scope="module")
def bedrock() -> Iterator[str]:
    """A simulated Bedrock on a loop of its own; gives its address."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    opened = simulate(SimulatorConfig())
    simulator = asyncio.run_coroutine_threadsafe(opened.__aenter__(), loop).result(10)
    yield simulator.url
    asyncio.run_coroutine_threadsafe(opened.__aexit__(None, None, None), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    loop.close()


def environment(task: Path, image: Path, **more: str) -> dict[str, str]:
    return {
        "PATH": os.defpath,
        "PYTHONPATH": str(image),
        "LAMBDA_TASK_ROOT": str(task),
        "AWS_EXECUTION_ENV": f"AWS_Lambda_python{built.PYTHON}",
        "AWS_LAMBDA_FUNCTION_NAME": "SageMaker-judge",
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512",
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "secret",
        **more,
    }


@contextmanager
def started(task: Path, image: Path, **more: str) -> Iterator[RuntimeApi]:
    api = RuntimeApi()
    process = subprocess.Popen(
        [PYTHON, "-s", "-S", "-m", "awslambdaric", "lambda_adapter.handler.lambda_handler"],
        cwd=task,
        env=environment(task, image, AWS_LAMBDA_RUNTIME_API=api.address, **more),
        stdout=subprocess.DEVNULL,
    )
    try:
        yield api
    finally:
        process.kill()
        process.wait()
        api.close()


@pytest.fixture(scope="module")
def function(task: Path, image: Path, bedrock: str) -> Iterator[RuntimeApi]:
    with started(task, image, JUDGE_BEDROCK_ENDPOINT_URL=bedrock) as api:
        yield api


@pytest.mark.parametrize("name", EVENTS)
def test_every_event_is_answered_as_aws_wants_it(name: str, function: RuntimeApi) -> None:
    kind, reply = function.invoke(EVENTS[name])

    assert kind == "response", reply
    assert_valid(EVENTS[name], reply)


def test_the_settings_and_the_rubric_in_the_package_are_used(function: RuntimeApi) -> None:
    event = EVENTS["Bedrock RFT: list, reference in metadata"]

    _, reply = function.invoke(event)

    for item in items_of(event, reply):
        assert {metric["name"] for metric in item["metrics_list"]} >= CRITERIA


def ask_dynamodb(operation: str, endpoint: str, **body: Any) -> Any:
    """One call of DynamoDB's protocol; its double asks for no signature."""
    headers = {
        "content-type": "application/x-amz-json-1.0",
        "x-amz-target": f"DynamoDB_20120810.{operation}",
        "authorization": "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261125/us-east-1/dynamodb/x",
    }
    sent = urllib.request.Request(endpoint, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(sent, timeout=10) as reply:
        return json.load(reply)


@pytest.fixture
def dynamodb() -> Iterator[str]:
    """A double with the quota's table as the template makes it; gives its address."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    ask_dynamodb(
        "CreateTable",
        endpoint,
        TableName="quota",
        KeySchema=[{"AttributeName": "slice", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "slice", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    yield endpoint
    server.stop()


def test_a_quota_is_shared_through_a_table_without_an_sdk(
    task: Path, image: Path, bedrock: str, dynamodb: str
) -> None:
    event = EVENTS["Bedrock RFT: list, reference in metadata"]
    shared = {
        "JUDGE_BEDROCK_ENDPOINT_URL": bedrock,
        "JUDGE_LIMITS_STORE": "dynamodb",
        "JUDGE_LIMITS_STORE_URL": "quota",
        "AWS_ENDPOINT_URL_DYNAMODB": dynamodb,
    }

    with started(task, image, **shared) as api:
        kind, reply = api.invoke(event)

    assert kind == "response", reply
    assert_valid(event, reply)
    (item, *_) = ask_dynamodb("Scan", dynamodb, TableName="quota")["Items"]
    assert int(item["requests"]["N"]) > 0
    assert int(item["tokens"]["N"]) > 0


@pytest.mark.parametrize(
    ("module", "code"), [("lambda_adapter.handler", 0), ("boto3", 1), ("rich", 1), ("pytest", 1)]
)
def test_the_function_finds_what_is_packed_and_nothing_else(
    module: str, code: int, task: Path, image: Path
) -> None:
    done = subprocess.run(
        [PYTHON, "-s", "-S", "-c", f"import {module}"],
        cwd=task,
        env=environment(task, image),
        capture_output=True,
        check=False,
    )

    assert done.returncode == code, done.stderr
