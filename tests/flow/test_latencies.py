from judge_service.flow.latencies import Latencies


def of(*latencies_s: float) -> Latencies:
    latencies = Latencies()
    for latency_s in latencies_s:
        latencies.note(latency_s)
    return latencies


def test_quantiles_are_of_what_was_noted() -> None:
    latencies = of(*range(100))
    assert [latencies.quantile_s(share) for share in (0, 0.5, 0.95, 1)] == [0, 50, 95, 99]


def test_few_observations_say_nothing() -> None:
    assert of(*range(19)).quantile_s(0.5) is None
    assert of(*range(20)).quantile_s(0.5) == 10


def test_only_the_last_answers_count() -> None:
    latencies = of(*[9.0] * 1000, *[1.0] * 400)
    assert latencies.quantile_s(1) == 1.0
    assert repr(latencies) == "Latencies(observations=400, median=1 s)"


def test_a_quantile_is_at_most_twenty_observations_old() -> None:
    latencies = of(*[1.0] * 20)
    assert latencies.quantile_s(1) == 1.0
    for _ in range(20):
        latencies.note(5.0)
    assert latencies.quantile_s(1) == 5.0
