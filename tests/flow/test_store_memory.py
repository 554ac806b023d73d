import pytest

from judge_service.flow.stores import Ask, Lease, Rules
from judge_service.flow.stores.memory import MemoryStore, TimeLine
from judge_service.testing import run_virtual

NOW_S = 1000.0


def ask(client: str = "a", per_minute: float = 6000, want: int = 0, **fields: object) -> Ask:
    wanted = {"requests": want} if want else {}
    return Ask(client=client, per_minute={"requests": per_minute}, want=wanted, **fields)  # type: ignore[arg-type]  # table


def line() -> TimeLine:
    return TimeLine(Rules())


def test_a_lone_client_gets_half_a_second() -> None:
    lease = line().lease(ask(want=1000), NOW_S)

    assert (lease.granted, lease.delay_s, lease.clients) == ({"requests": 50}, 0.0, 1)


def test_a_new_line_holds_no_credit_from_the_time_before() -> None:
    quota = line()

    leases = [quota.lease(ask(want=1000), NOW_S + 3600) for _ in range(3)]

    assert [lease.delay_s for lease in leases] == pytest.approx([0, 0.5, 1.0])


def test_time_in_which_nobody_asked_is_no_credit() -> None:
    quota = line()
    quota.lease(ask(want=1000), NOW_S)

    delays_s = [quota.lease(ask(want=1000), NOW_S + 600).delay_s for _ in range(2)]

    assert delays_s == pytest.approx([0, 0.5])


def test_clients_share_a_chunk() -> None:
    quota = line()
    granted = [quota.lease(ask(name, want=1000), NOW_S).granted["requests"] for name in "abab"]

    assert granted == [50, 25, 25, 25]


def test_small_shares_are_leased_in_batches_of_calls() -> None:
    quota = line()
    for name in range(40):
        quota.lease(ask(str(name)), NOW_S)

    lease = quota.lease(ask("0", want=1000), NOW_S)

    assert lease.granted == {"requests": 12}  # its share of half a second would be 1.25


def test_a_batch_takes_no_more_than_a_quarter_second_of_the_line() -> None:
    quota = line()
    for name in range(40):
        quota.lease(ask(str(name), per_minute=600), NOW_S)

    lease = quota.lease(ask("0", per_minute=600, want=1000), NOW_S)

    assert lease.granted == {"requests": 2}


def test_grants_one_call_however_dear_and_lets_the_others_wait_for_it() -> None:
    quota = line()
    dear = quota.lease(ask("a", want=500, least={"requests": 400}), NOW_S)
    after = quota.lease(ask("b", want=1), NOW_S)

    assert dear.granted == {"requests": 400}
    assert after.delay_s == pytest.approx(4.0)


def test_calls_dear_in_different_resources_share_the_time() -> None:
    quota = line()
    both = {"requests": 6000.0, "tokens": 600_000.0}
    for _ in range(100):
        quota.lease(Ask(client="many", per_minute=both, want={"requests": 10, "tokens": 1}), NOW_S)
        last = quota.lease(
            Ask(client="long", per_minute=both, want={"requests": 1, "tokens": 1000}), NOW_S
        )

    assert last.delay_s == pytest.approx(
        11, rel=0.05
    )  # 1,100 requests; one after the other it were 20


def test_one_resource_lags_behind_the_one_that_binds_by_a_bounded_time() -> None:
    quota = line()
    both = {"requests": 6000.0, "tokens": 600_000.0}
    for _ in range(10):
        quota.lease(Ask(client="a", per_minute=both, want={"requests": 1, "tokens": 5000}), NOW_S)

    lease = quota.lease(ask("a", want=1), NOW_S)

    assert lease.delay_s == pytest.approx(4.5 - 0.25 + 0.01)


def test_what_comes_back_goes_to_others_but_never_into_the_past() -> None:
    quota = line()
    quota.lease(ask(want=1000), NOW_S)

    quota.lease(ask(returned={"requests": 1_000_000}), NOW_S)
    delays_s = [quota.lease(ask(want=1000), NOW_S).delay_s for _ in range(2)]

    assert delays_s == pytest.approx([0, 0.5])


def test_a_crashed_client_is_forgotten() -> None:
    quota = line()
    quota.lease(ask("crashed"), NOW_S)
    quota.lease(ask("leaving"), NOW_S)
    quota.lease(ask("leaving", leaving=True), NOW_S)

    assert quota.lease(ask("a"), NOW_S + 1.9).clients == 2
    assert quota.lease(ask("a"), NOW_S + 2.1).clients == 1


def test_who_waits_for_a_far_lease_is_not_forgotten_before() -> None:
    quota = line()
    quota.lease(ask("a", want=900, least={"requests": 900}), NOW_S)
    quota.lease(ask("b", want=1), NOW_S)

    assert quota.clients(NOW_S + 8) == 1


def test_after_a_loss_the_share_of_those_still_alone_is_not_dealt_out() -> None:
    quota = line()
    first = quota.lease(ask("a", want=1000, lost_clients=4), NOW_S)
    second = quota.lease(ask("b", want=1000, lost_clients=4), NOW_S)

    assert first.granted == {"requests": 10}  # a quarter second of the 40 a second that are left
    assert second.delay_s == pytest.approx(0.25)
    assert quota.lease(ask("a", want=1000), NOW_S + 2).granted == {"requests": 25}


def told(lease: Lease, *, after_s: float = 0.0, **fields: object) -> Ask:
    """The next ask of a client whose lease has begun `after_s` ago."""
    taken_s = lease.taken_s - after_s
    return ask(seen=lease.seen, taken_s=taken_s, clients=lease.clients, **fields)  # type: ignore[arg-type]  # table


def test_a_line_that_has_forgotten_begins_where_the_clients_last_one_ends() -> None:
    lease = line().lease(ask(want=1000), NOW_S)

    again = line().lease(told(lease, after_s=0.2, want=1000), NOW_S + 0.2)

    assert again.delay_s == pytest.approx(0.3)


def test_who_had_to_wait_knows_that_the_others_wait_as_well() -> None:
    quota = line()
    leases = [quota.lease(ask(name, want=1000), NOW_S) for name in "abab"]

    again = line().lease(told(leases[3], want=1000), NOW_S + 1.0)

    assert leases[3].delay_s == pytest.approx(1.0)
    assert (again.clients, again.granted) == (2, {"requests": 25})
    assert again.delay_s == pytest.approx(0.5)  # its own lease, and one of the other


def test_what_the_line_remembers_itself_is_not_told_to_it() -> None:
    quota = line()
    lease = quota.lease(ask(want=1000), NOW_S)
    quota.lease(ask("b", returned={"requests": 50}), NOW_S)

    assert quota.lease(told(lease, want=1000), NOW_S).delay_s == 0


def test_a_clients_word_of_the_others_is_believed_until_they_have_had_their_turns() -> None:
    quota = line()
    leases = [quota.lease(ask(name, want=1000), NOW_S) for name in "abab"]
    empty = line()
    empty.lease(told(leases[3]), NOW_S + 1)

    assert empty.lease(ask("a"), NOW_S + 1.49).clients == 2
    assert empty.lease(ask("a"), NOW_S + 1.51).clients == 1


def tell(quota: TimeLine, share_refused: float, *, seconds: int) -> list[Lease]:
    """Ten reports a second of 20 calls each, at the pace that the line deals out; its last leases."""
    leases = [quota.lease(ask(), NOW_S)]
    for tick in range(10 * seconds):
        report = {"sent": 20, "refused": round(20 * share_refused), "pace": leases[-1].pace}
        leases.append(quota.lease(ask(**report), NOW_S + tick / 10))
    return leases


def test_few_refusals_cost_nothing() -> None:
    paces = {lease.pace for lease in tell(line(), 0.0, seconds=5)}
    assert paces == {1.0}


def test_many_refusals_slow_all_at_one_pace() -> None:
    quota = line()

    last = tell(quota, 0.4, seconds=3)[-1]

    assert last.pace < 0.8
    assert quota.lease(ask("b"), NOW_S + 3).pace == last.pace
    rate = 100 * last.pace
    assert quota.lease(ask("c", want=1000), NOW_S + 60).granted == {
        "requests": int(rate / 2 + 1e-9)
    }


def test_calls_sent_at_another_pace_say_nothing_about_this_one() -> None:
    quota = line()
    for tick in range(50):
        quota.lease(ask(sent=20, refused=20, pace=0.5), NOW_S + tick / 10)

    assert quota.lease(ask(), NOW_S + 5).pace == 1.0


def test_counts_operations_and_clients() -> None:
    async def scenario() -> None:
        store = MemoryStore()
        await store.lease("q", ask("a"))
        await store.lease("q", ask("b"))

        statistics = store.statistics()
        assert (statistics.operations, statistics.clients) == (2, {"q": 2})
        assert repr(store) == "MemoryStore()"
        await store.aclose()

    run_virtual(scenario())
