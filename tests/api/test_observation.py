"""What the service writes about the samples of a request."""

import json
from typing import Any

import httpx
import pytest

from judge_service.api import create_app
from judge_service.api.request_context import RequestContext
from judge_service.backends.scripted import Scripted
from judge_service.settings import Settings

SAMPLE = {"id": "a", "response": "yes", "reference": "yes"}


async def lines_of(capsys: pytest.CaptureFixture[str], headers: dict[str, Any]) -> list[Any]:
    settings = Settings(backend="bedrock", model="amazon.nova-lite-v1:0")
    app = create_app(settings, environ={}, model=Scripted("0.5"))
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://judge") as client:
            answer = await client.post("/invocations", json=[SAMPLE], headers=headers)
    assert answer.status_code == 200
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


async def test_a_request_leaves_a_line_for_its_sample_with_the_ids_it_came_with(
    capsys: pytest.CaptureFixture[str],
) -> None:
    [line] = await lines_of(capsys, {"X-Request-Id": "r-1", "X-Amzn-Trace-Id": "Root=1-5f-6"})

    assert line["id"] == "a"
    assert line["function_request_id"] == "r-1"
    assert line["xray_trace_id"] == "Root=1-5f-6"


async def test_without_such_headers_the_line_has_no_ids(capsys: pytest.CaptureFixture[str]) -> None:
    [line] = await lines_of(capsys, {})

    assert "function_request_id" not in line
    assert "xray_trace_id" not in line


async def test_ids_from_headers_are_cut_and_made_plain(capsys: pytest.CaptureFixture[str]) -> None:
    [line] = await lines_of(capsys, {"X-Request-Id": b"x\x85\xad" * 100})

    assert line["function_request_id"] == ("x  " * 43)[:128]


def test_x_rays_id_goes_before_the_w3cs() -> None:
    headers = [(b"traceparent", b"00-a-b-01"), (b"x-amzn-trace-id", b"Root=1"), (b"cookie", b"c")]

    assert RequestContext(headers, 0).ids() == {"request_id": "", "trace_id": "Root=1"}
    assert RequestContext(headers[:1], 0).ids() == {"request_id": "", "trace_id": "00-a-b-01"}
