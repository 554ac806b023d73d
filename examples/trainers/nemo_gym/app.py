"""A resources server for NeMo-Gym that hands every rollout to judge-service.

NeMo-Gym starts the servers it is configured with, so that this small one stands for the service; put it
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
    """judge_url: where judge-service is, without a slash at the end."""

    judge_url: str


class JudgeRequest(BaseVerifyRequest):
    """A rollout with all fields of the data set."""

    model_config = ConfigDict(extra="allow")


class JudgeServer(SimpleResourcesServer):
    """Its replies are judge-service's, masked where a rollout could not be judged."""

    config: JudgeConfig

    async def verify(self, body: JudgeRequest) -> Any:
        """One rollout. NeMo-Gym's client waits while the service is full, and tries again."""
        url = f"{self.config.judge_url}/verify"
        reply = await request("POST", url, _internal=True, json=body.model_dump())
        await raise_for_status(reply)
        return JSONResponse(await get_response_json(reply))


if __name__ == "__main__":
    JudgeServer.run_webserver()
