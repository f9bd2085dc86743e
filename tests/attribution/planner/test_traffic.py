"""Traffic that is described in a few words: it has to be what the words say."""

from statistics import median

from router.attribution.planner.traffic import DAY, HOUR, Traffic, described_traffic


def a_week() -> Traffic:
    return described_traffic(200, 7 * 24, seed=4)


def test_the_same_seed_gives_the_same_traffic_and_another_one_another() -> None:
    one, again, other = (described_traffic(60, 24, seed=seed) for seed in (1, 1, 2))
    assert one == again
    assert one.stays != other.stays


def test_visits_follow_the_day_around_their_mean() -> None:
    traffic = a_week()
    assert 195 < len(traffic.stays) / (7 * 24) < 205
    by_hour = [0] * 24
    for stay in traffic.stays:
        by_hour[int(stay.start % DAY // HOUR)] += 1
    assert by_hour[10] > 5 * by_hour[3]
    assert [stay.start for stay in traffic.stays] == sorted(stay.start for stay in traffic.stays)


def test_most_visits_are_short_and_few_sources_bring_most_of_them() -> None:
    stays = a_week().stays
    lengths = [stay.spans[-1].last - stay.start for stay in stays]
    assert 0.5 < sum(one < 30 for one in lengths) / len(stays) < 0.65
    assert 120 < median(one for one in lengths if one > 30) < 240
    sources = [stay.source_key for stay in stays]
    assert set(sources) == set(range(1, 13))
    assert 0.28 < sources.count(1) / len(stays) < 0.36
    assert sum(one in {stay.visitor for stay in stays[:1000]} for one in (stay.visitor for stay in stays[1000:])) > 100


def test_calls_come_during_the_visit_or_minutes_hours_and_days_later_and_some_again() -> None:
    traffic = described_traffic(200, 14 * 24, seed=5, warm_up_hours=72)
    first = [call for call in traffic.calls if not call.again]
    assert 0.045 < len(first) / (200 * 14 * 24) < 0.075
    after = [call.at - traffic.stays[call.stay].spans[-1].last for call in first]
    shares = [
        sum(low < one <= high for one in after) / len(after) for low, high in ((-DAY, 0), (0, HOUR), (20 * HOUR, 1e9))
    ]
    for share, told in zip(shares, (0.62, 0.23, 0.05), strict=True):
        assert abs(share - told) < 0.03
    assert all(call.at >= traffic.stays[call.stay].start for call in traffic.calls)
    assert min(call.at for call in traffic.calls) >= 72 * HOUR
    assert 0.08 < (len(traffic.calls) - len(first)) / len(first) < 0.16


def test_taps_come_just_before_calls_mostly() -> None:
    traffic = a_week()
    calls = {call.stay: call.at for call in traffic.calls}
    before = [tap for tap in traffic.taps if tap.stay in calls and 0 <= calls[tap.stay] - tap.at <= 10]
    assert len(before) > 0.5 * len(traffic.taps)
    assert all(traffic.stays[tap.stay].start <= tap.at for tap in traffic.taps)
