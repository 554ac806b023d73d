from pathlib import Path
from typing import Any

from judge_service.errors import Denied
from judge_service.values import Prompt
from tests.trainers.conftest import Client, serving

EXAMPLE = Path(__file__).parent.parent.parent / "examples" / "trainers" / "nemo_gym" / "app.py"


def task(response: str) -> dict[str, Any]:
    return {"input": "2 + 2?", "response": response, "expected_answer": "four", "level": "easy"}


def exact(prompt: Prompt) -> float | Denied:
    if prompt.question.response == "unjudged":
        return Denied("down")
    return 1.0 if prompt.question.response == prompt.question.reference else 0.5


async def test_the_agent_runs_a_rollout_with_our_service_as_resources_server(
    client: Client,
) -> None:
    tasks = [task("four"), task("five"), task("unjudged")]
    async with serving(exact) as port:
        argument = {"port": port, "tasks": tasks, "example": str(EXAMPLE)}
        told = await client("nemo_gym_run.py", argument)

    right, wrong, failed = told["verified"]
    assert (right["reward"], wrong["reward"]) == (1.0, 0.5)
    assert right["judge_similarity"] == 1.0
    assert right["level"] == "easy"
    assert "mask_sample" not in right
    assert (failed["reward"], failed["mask_sample"]) == (0.0, True)
    assert failed["_ng_failure_class"] == failed["failure_kind"] == "judge_failed"
    assert told["forwarded"] == told["verified"]
    assert told["metrics"]["key_metrics"]["mean/reward"] == 0.75
    assert told["mode"] == "stateless"
