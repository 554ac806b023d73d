"""NeMo-Gym's simple agent, with our service as its resources server; the policy is a double.

argument: {"port": ..., "tasks": [{"input", "response", ...}, ...], "example": ...}; other fields of a task
are the data set's. example: a resources server to stand between agent and service, in a second run.
"""

import asyncio
import importlib.util
import json
import socket
import sys
from typing import Any
from unittest.mock import MagicMock

for absent in (
    "ray", "hydra", "wandb", "wandb.util", "pandas", "pandas.core", "pandas.core.groupby",
    "pandas.core.groupby.generic", "yappi", "gprof2dot", "pydot",
):  # fmt: skip
    sys.modules[absent] = MagicMock(__version__="0")

import uvicorn  # noqa: E402 - after the doubles
from aiohttp import web  # noqa: E402 - after the doubles
from nemo_gym import server_utils  # noqa: E402 - after the doubles
from nemo_gym.config_types import AggregateMetricsRequest, BaseServerConfig  # noqa: E402 - after the doubles
from omegaconf import OmegaConf  # noqa: E402 - after the doubles
from responses_api_agents.simple_agent import app as agents  # noqa: E402 - after the doubles
from starlette.requests import Request  # noqa: E402 - after the doubles

HERE = "127.0.0.1"
SERVING: list[asyncio.Task[None]] = []
"""What runs until the process ends."""


async def answer(request: web.Request) -> web.Response:
    """The policy: says what the data set's row says it will."""
    said = (await request.json())["metadata"]["response"]
    text = {"type": "output_text", "text": said, "annotations": []}
    item = {
        "id": "m1", "type": "message", "role": "assistant", "status": "completed", "content": [text],
    }  # fmt: skip
    return web.json_response(
        {
            "id": "resp_1", "created_at": 0, "model": "policy", "object": "response",
            "parallel_tool_calls": False, "tool_choice": "auto", "tools": [], "output": [item],
        }
    )  # fmt: skip


async def policy() -> int:
    """Its port."""
    app = web.Application()
    app.router.add_post("/v1/responses", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, HERE, 0)
    await site.start()
    port: int = runner.addresses[0][1]
    return port


def agent(port: int, policy_port: int) -> Any:
    where = {
        "judge": {"resources_servers": {"judge": {"host": HERE, "port": port}}},
        "agent": {"responses_api_agents": {"simple_agent": {"host": HERE, "port": policy_port}}},
    }
    client = server_utils.ServerClient(
        head_server_config=BaseServerConfig(host=HERE, port=0),
        global_config_dict=OmegaConf.create(where),
    )
    config = agents.SimpleAgentConfig(
        name="agent",
        host=HERE,
        port=policy_port,
        entrypoint="app.py",
        resources_server={"type": "resources_servers", "name": "judge"},
        model_server={"type": "responses_api_models", "name": "policy"},
    )
    return agents.SimpleAgent(config=config, server_client=client)


async def forwarder(example: str, judge_port: int) -> int:
    """The example's server on a port of its own."""
    spec = importlib.util.spec_from_file_location("example", example)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["example"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    url = f"http://{HERE}:{judge_port}"
    config = module.JudgeConfig(name="judge", host=HERE, port=0, entrypoint="app.py", judge_url=url)
    client = server_utils.ServerClient(
        head_server_config=BaseServerConfig(host=HERE, port=0),
        global_config_dict=OmegaConf.create(),
    )
    app = module.JudgeServer(config=config, server_client=client).setup_webserver()
    listener = socket.create_server((HERE, 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
    SERVING.append(asyncio.create_task(server.serve([listener])))
    return int(listener.getsockname()[1])


def row(task: dict[str, Any]) -> Any:
    asked = {
        "input": [{"role": "user", "content": task["input"]}],
        "metadata": {"response": task["response"]},
    }
    rest = {name: value for name, value in task.items() if name not in ("input", "response")}
    return agents.SimpleAgentRunRequest(responses_create_params=asked, **rest)


async def main(port: int, tasks: list[dict[str, Any]], example: str) -> dict[str, Any]:
    session = server_utils.set_global_aiohttp_client(server_utils.GlobalAIOHTTPAsyncClientConfig())
    policy_port = await policy()
    direct, behind = agent(port, policy_port), agent(await forwarder(example, port), policy_port)
    request = Request({"type": "http", "headers": []})
    verified, forwarded = [
        [(await runner.run(request, row(task))).model_dump() for task in tasks]
        for runner in (direct, behind)
    ]
    stripped = [
        {"_ng_task_index": 0, "_ng_rollout_index": i, **one} for i, one in enumerate(verified)
    ]
    found = await direct.aggregate_metrics(AggregateMetricsRequest(verify_responses=stripped))
    mode = await direct.server_client.get(server_name="judge", url_path="/reverify_mode")
    told = {
        "verified": verified,
        "forwarded": forwarded,
        "metrics": found.model_dump(),
        "mode": await server_utils.get_response_json(mode),
    }
    await session.close()
    server_utils._GLOBAL_AIOHTTP_CLIENT = None  # its own exit handler closes it on another loop
    return told


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(main(**json.loads(sys.argv[1])))))
