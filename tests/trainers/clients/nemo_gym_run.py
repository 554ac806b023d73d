"""NeMo-Gym's simple agent, with our service as its resources server; the policy is a double.

argument: {"port": ..., "tasks": [{"input", "response", ...}, ...]}; other fields are the data set's.
"""

import asyncio
import json
import sys
from typing import Any
from unittest.mock import MagicMock

for absent in (
    "ray", "hydra", "wandb", "wandb.util", "pandas", "pandas.core", "pandas.core.groupby",
    "pandas.core.groupby.generic", "yappi", "gprof2dot", "pydot",
):  # fmt: skip
    sys.modules[absent] = MagicMock(__version__="0")

from aiohttp import web  # noqa: E402 - after the doubles
from nemo_gym import server_utils  # noqa: E402
from nemo_gym.config_types import AggregateMetricsRequest, BaseServerConfig  # noqa: E402
from omegaconf import OmegaConf  # noqa: E402
from responses_api_agents.simple_agent import app as agents  # noqa: E402
from starlette.requests import Request  # noqa: E402

HERE = "127.0.0.1"


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


def row(task: dict[str, Any]) -> Any:
    asked = {
        "input": [{"role": "user", "content": task["input"]}],
        "metadata": {"response": task["response"]},
    }
    rest = {name: value for name, value in task.items() if name not in ("input", "response")}
    return agents.SimpleAgentRunRequest(responses_create_params=asked, **rest)


async def main(port: int, tasks: list[dict[str, Any]]) -> dict[str, Any]:
    session = server_utils.set_global_aiohttp_client(server_utils.GlobalAIOHTTPAsyncClientConfig())
    runner = agent(port, await policy())
    request = Request({"type": "http", "headers": []})
    verified = [(await runner.run(request, row(task))).model_dump() for task in tasks]
    stripped = [
        {"_ng_task_index": 0, "_ng_rollout_index": i, **one} for i, one in enumerate(verified)
    ]
    found = await runner.aggregate_metrics(AggregateMetricsRequest(verify_responses=stripped))
    mode = await runner.server_client.get(server_name="judge", url_path="/reverify_mode")
    told = {
        "verified": verified,
        "metrics": found.model_dump(),
        "mode": await server_utils.get_response_json(mode),
    }
    await session.close()
    server_utils._GLOBAL_AIOHTTP_CLIENT = None  # its own exit handler closes it on another loop
    return told


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(main(**json.loads(sys.argv[1])))))
