"""A resources server for NeMo-Gym that passes every rollout to judge-service.

NeMo-Gym starts all servers of its configuration, so it needs this small one in front of the service. Put it
into `resources_servers/judge/` of your project (docs/trainers.md has its configuration).
"""

from typing import Any

from fastapi.responses import JSONResponse
from nemo_gym.base_resources_server import (
    BaseResourcesServerConfig,
    BaseVerifyRequest,
    SimpleResourcesServer,
)
from nemo_gym.server_utils import get_response_json, raise_for_status, request
from pydantic import ConfigDict


class JudgeConfig(BaseResourcesServerConfig):
    """judge_url: address of judge-service, without a slash at the end."""

    judge_url: str


class JudgeRequest(BaseVerifyRequest):
    """A rollout with all fields of the data set."""

    model_config = ConfigDict(extra="allow")


class JudgeServer(SimpleResourcesServer):
    """Passes on the replies of judge-service, which are masked if a rollout could not be judged."""

    config: JudgeConfig

    async def verify(self, body: JudgeRequest) -> Any:
        """Rewards one rollout. If the service is full, NeMo-Gym's client waits and tries again."""
        url = f"{self.config.judge_url}/verify"
        reply = await request("POST", url, _internal=True, json=body.model_dump())
        await raise_for_status(reply)
        return JSONResponse(await get_response_json(reply))


if __name__ == "__main__":
    JudgeServer.run_webserver()
