"""Charts: everything stands inside the plot, and says what it shows without a picture."""

from hypothesis import given
from hypothesis import strategies as st

from router.web.charts import PERCENT, Across, LineChart, Series, money_axis, nice_ticks, range_bars

DAYS = Across([1.0, 2.0, 3.0, 4.0], lambda day: f"{day:.0f} Nov")
values = st.lists(st.none() | st.floats(0, 1e6), min_size=4, max_size=4)


@given(st.lists(values, min_size=1, max_size=4))
def test_every_point_stands_inside_the_plot(lines: list[list[float | None]]) -> None:
    chart = LineChart("", "", DAYS, [Series(str(place), one) for place, one in enumerate(lines)])
    for line, given_values in zip(chart.lines, lines, strict=True):
        assert len(line.dots) == sum(value is not None for value in given_values)
        assert all(0 <= dot.x <= 100 and 0 <= dot.y <= 100 for dot in line.dots)
    assert all(0 <= tick.at <= 100 for tick in [*chart.up, *chart.across])


@given(st.floats(-1e5, 1e5), st.floats(1e-3, 1e6))
def test_scales_have_few_round_steps_and_hold_all(low: float, width: float) -> None:
    ticks = nice_ticks(low, low + width)
    assert 2 <= len(ticks) <= 6
    assert ticks[0] <= low + 1e-9
    assert ticks[-1] >= low + width - width * 1e-6


def test_a_missing_value_is_a_gap_and_an_empty_cell() -> None:
    [line] = (chart := LineChart("", "", DAYS, [Series("accuracy", [0.5, None, 0.25, 0.999])])).lines
    assert line.strokes == ["66.67,75.0 100.0,0.1"]
    assert [dot.text for dot in line.dots] == ["1 Nov: accuracy 50 %", "3 Nov: accuracy 25 %", "4 Nov: accuracy 99 %"]
    assert chart.rows[1] == ["2 Nov", ""]
    assert chart.head == ["At", "accuracy"]


def test_money_has_a_scale_of_its_own_at_the_right() -> None:
    cost = Series("weekly cost", [100, 200, 300, 400], second=True)
    chart = LineChart(
        "", "", DAYS, [Series("right", [1.0] * 4), cost], PERCENT, money_axis("USD", "USD a week"), mark=(3, "today")
    )
    assert [tick.text for tick in chart.up] == ["0 %", "25 %", "50 %", "75 %", "100 %"]
    assert [tick.text for tick in chart.second] == ["0", "1", "2", "3", "4"]
    assert chart.lines[1].marked
    assert chart.lines[1].marked.text == "3 Nov: weekly cost 3.00 USD"
    assert chart.mark
    assert chart.mark.at == chart.lines[1].marked.x == 66.67
    assert chart.rows[3] == ["4 Nov", "100 %", "4.00 USD"]


def test_a_long_time_is_drawn_with_few_words_and_without_dots() -> None:
    across = Across([float(day) for day in range(60)], str)
    chart = LineChart("", "", across, [Series("calls", [1.0] * 60)])
    assert len(chart.across) == 7
    assert chart.across[-1].at == 100
    assert not chart.across[-1].spare
    assert chart.lines[0].dots == []
    assert len(chart.rows) == 60


def test_orders_of_magnitude_get_the_same_width() -> None:
    across = Across([1, 10, 100], str, logarithmic=True)
    [line] = LineChart("", "", across, [Series("", [1, 0.5, 0])]).lines
    assert [dot.x for dot in line.dots] == [0, 50, 100]


def test_nothing_yet_is_an_empty_plot() -> None:
    chart = LineChart("", "", Across([], str), [Series("accuracy", [])])
    assert chart.lines[0].strokes == []
    assert chart.rows == []
    assert range_bars([]) == []


@given(st.lists(st.tuples(st.floats(0, 1e4), st.floats(0, 1e4)), min_size=1))
def test_bars_and_their_ranges_stand_inside_the_plot(rows: list[tuple[float, float]]) -> None:
    for bar in range_bars([(value, value * 0.5, value + more) for value, more in rows]):
        assert 0 <= bar.low <= bar.width <= bar.high <= 100


def test_a_bar_shows_its_value_and_its_range() -> None:
    bars = range_bars([(41, 38, 44), (3, -1, 3)])
    assert [(bar.width, bar.low, bar.high) for bar in bars] == [(93.18, 86.36, 100), (6.82, 0, 6.82)]
