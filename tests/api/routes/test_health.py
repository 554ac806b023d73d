import pytest

from tests.api.conftest import Talk


@pytest.mark.parametrize("path", ["/ping", "/healthz/ready", "/healthz/live"])
async def test_a_ready_service_says_so_with_an_empty_body(service: Talk, path: str) -> None:
    answer = await service.get(path)

    assert (answer.status_code, answer.content) == (200, b"")


@pytest.mark.parametrize("path", ["/ping", "/healthz/ready"])
async def test_a_stopping_service_is_not_ready(service: Talk, path: str) -> None:
    service.app.state.capacity.stop()

    assert (await service.get(path)).status_code == 503


async def test_a_stopping_service_is_alive(service: Talk) -> None:
    service.app.state.capacity.stop()

    assert (await service.get("/healthz/live")).status_code == 200


async def test_before_the_judge_is_open_it_is_not_ready(app: object) -> None:
    import httpx

    transport = httpx.ASGITransport(app=app)  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
        assert (await client.get("/ping")).status_code == 503
        assert (await client.get("/healthz/live")).status_code == 200
