import asyncio
import json
import signal
import socket
import sys
from pathlib import Path

import pytest

from judge_service.simulator import SimulatorConfig, simulate
from judge_service.simulator.alarms import Alarms
from tests.simulator.raw_client import asking, connect, eventually, request

MALFORMED = json.loads(
    (Path(__file__).parent.parent / "data" / "simulator" / "malformed_http.json").read_text()
)


async def test_a_connection_is_kept_for_the_next_call() -> None:
    async with simulate() as simulator, connect(simulator) as client:
        assert (await client.ask(asking())).status == 200
        assert (await client.ask(asking())).status == 200

        assert simulator.statistics().open_connections == 1


async def test_pipelined_calls_are_answered_in_order_also_when_they_take_time() -> None:
    config = SimulatorConfig(latency_median_s=0.005, latency_sigma=1.0)
    async with simulate(config) as simulator, connect(simulator) as client:
        client.send(b"".join(request(asking(f"prompt {n}")) for n in range(20)))
        pipelined = [(await client.receive()).text for _ in range(20)]
        alone = [(await client.ask(asking(f"prompt {n}"))).text for n in range(20)]

    assert pipelined == alone
    assert len(set(alone)) > 10


async def test_a_call_may_come_byte_by_byte() -> None:
    async with simulate() as simulator, connect(simulator) as client:
        for byte in request(asking()):
            client.send(bytes((byte,)))
            await asyncio.sleep(0)

        assert (await client.receive()).status == 200


@pytest.mark.parametrize("case", MALFORMED, ids=lambda case: case["name"])
async def test_malformed_http_is_refused_and_the_connection_closed(case: dict[str, str]) -> None:
    async with simulate() as simulator:
        async with connect(simulator) as client:
            client.send(case["bytes"].encode("latin-1"))
            reply = await client.receive()

            assert reply.status == case["status"]
            assert reply.json["message"]
            assert await client.reader.read() == b""
        await eventually(lambda: simulator.statistics().open_connections == 0)


async def test_headers_without_end_are_refused() -> None:
    async with (
        simulate(SimulatorConfig(max_header_bytes=1000)) as simulator,
        connect(simulator) as client,
    ):
        client.send(b"GET / HTTP/1.1\r\nx: " + b"y" * 2000)

        assert (await client.receive()).status == 431


async def test_a_client_that_goes_on_sending_an_oversize_body_still_reads_its_refusal() -> None:
    loop = asyncio.get_running_loop()
    async with simulate(SimulatorConfig(max_body_bytes=1000)) as simulator:
        port = int(simulator.url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port)) as client:  # reads only when told to
            client.setblocking(False)
            for _ in range(3):
                await loop.sock_sendall(client, request(b"x" * 10_000))
                await asyncio.sleep(0.01)

            assert (await loop.sock_recv(client, 1000)).startswith(b"HTTP/1.1 413 ")


async def test_a_flood_of_pipelined_bytes_is_not_buffered_without_bound() -> None:
    config = SimulatorConfig(max_body_bytes=10_000, max_header_bytes=1000, faults=("hang",))
    async with simulate(config) as simulator, connect(simulator) as client:
        client.send(request(asking()) + b"x" * 20_000_000)
        await eventually(lambda: simulator.statistics().in_flight == 1)
        await asyncio.sleep(0.05)

        (connection,) = simulator._connections
        assert len(connection._buffer) < 1_000_000
        client.writer.transport.abort()


async def test_a_half_closed_client_still_gets_its_answer() -> None:
    config = SimulatorConfig(latency_median_s=0.01)
    async with simulate(config) as simulator, connect(simulator) as client:
        client.send(request(asking()))
        client.writer.write_eof()

        assert (await client.receive()).status == 200
        assert await client.reader.read() == b""


@pytest.mark.parametrize("abort", [True, False], ids=["reset", "closed"])
async def test_a_client_that_leaves_while_it_waits_leaks_nothing(abort: bool) -> None:
    config = SimulatorConfig(latency_median_s=0.02, tokens_per_minute=1e6)
    async with simulate(config) as simulator:
        async with connect(simulator) as client:
            client.send(request(asking()))
            await eventually(lambda: simulator.statistics().in_flight == 1)
            if abort:
                client.writer.transport.abort()
        await eventually(lambda: simulator.statistics().in_flight == 0)
        await eventually(lambda: simulator.statistics().open_connections == 0)

        (quota,) = simulator.statistics().quotas.values()
        assert quota.reserved_tokens == 0
        assert quota.charged_tokens > 0
        assert "waiting=0" in repr(simulator._calls._alarms)


async def test_an_idle_connection_is_closed() -> None:
    async with (
        simulate(SimulatorConfig(idle_timeout_s=0.05)) as simulator,
        connect(simulator) as client,
    ):
        assert await client.reader.read() == b""


async def test_stopping_closes_connections_and_ends_calls_at_once() -> None:
    async with simulate(SimulatorConfig(latency_median_s=1000)) as simulator:
        address = simulator.url.rpartition(":")[2]
        reader, writer = await asyncio.open_connection("127.0.0.1", int(address))
        writer.write(request(asking()))
        await eventually(lambda: simulator.statistics().in_flight == 1)

    assert await reader.read() == b""
    writer.close()


async def test_alarms_ring_in_time_and_never_early() -> None:
    loop, alarms, rung = asyncio.get_running_loop(), Alarms(), []
    due_s = [loop.time() + delay_s for delay_s in (0.02, 0.0101, 0.0102, 0.001)]
    for at_s in due_s:
        alarms.after(at_s - loop.time(), lambda at_s: rung.append((at_s, loop.time())), at_s)
    assert repr(alarms) == "<Alarms waiting=4>"
    await eventually(lambda: len(rung) == 4)

    assert [due for due, _ in rung] == [due_s[n] for n in (3, 1, 2, 0)]
    assert all(at >= due - 1e-9 for due, at in rung)
    assert not alarms._timers


async def test_a_timer_of_a_stopped_simulator_does_not_fire() -> None:
    async with simulate(SimulatorConfig(latency_median_s=0.05)) as simulator:
        address = simulator.url.rpartition(":")[2]
        _, writer = await asyncio.open_connection("127.0.0.1", int(address))
        writer.write(request(asking()))
        await eventually(lambda: simulator.statistics().in_flight == 1)
    await asyncio.sleep(0.1)

    assert simulator.events() == []
    writer.close()


async def test_thousands_of_pipelined_calls_do_not_recurse() -> None:
    async with simulate() as simulator, connect(simulator) as client:
        client.send(request(asking()) * 3000)
        for _ in range(3000):
            await client.receive()

        assert simulator.statistics().answered == 3000


async def test_unknown_paths_are_refused_with_what_there_is() -> None:
    async with simulate() as simulator, connect(simulator) as client:
        reply = await client.ask({}, "/model/m/invoke")

    assert reply.status == 404
    assert reply.headers["x-amzn-errortype"] == "unknownoperationexception"
    assert "/v1/chat/completions" in reply.json["message"]


async def test_the_date_is_that_of_the_wall_clock() -> None:
    async with simulate(wall_clock=lambda: 0.0) as simulator, connect(simulator) as client:
        assert (await client.ask(asking())).headers["date"] == "thu, 01 jan 1970 00:00:00 gmt"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_run_ends_in_order_on_a_signal(number: signal.Signals) -> None:
    code = (
        "from judge_service.simulator import SimulatorConfig, run\n"
        "print(run(SimulatorConfig(), port=0, on_ready=lambda s: print(s.url, flush=True)).calls)"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert (await process.stdout.readline()).startswith(b"http://127.0.0.1:")
    process.send_signal(number)
    out, errors = await process.communicate()

    assert (process.returncode, out, errors) == (0, b"0\n", b"")
