"""A page with every macro of the frame, so that a browser sees those too that no page uses with such values."""

from datetime import UTC, datetime, timedelta

from flask import Blueprint, render_template_string

from router.accounts.sessions import require_person
from router.web.access import Audience, guard
from router.web.charts import Across, LineChart, Series, money_axis, range_bars

samples = guard(Blueprint("samples", __name__), Audience.PEOPLE, require_person)

TEMPLATE = """
{% extends "base.html" %}
{% import "macros/table.html" as tables with context %}
{% import "macros/forms.html" as forms with context %}
{% import "macros/charts.html" as charts with context %}
{% block title %}Samples{% endblock %}
{% block content %}
{% call page.head("Samples", "Every macro once.") %}<a class="btn btn-primary" href="/samples">The one action</a>{% endcall %}
<div class="stats">
  {{ page.stat("Calls today", 17, "3 more than last Monday", "/samples", [3, 0, 9, 17, 4]) }}
  {{ page.stat("Missed", 2, kind="bad") }}
  {{ page.stat("Nothing yet", dash("no call yet"), values=[0]) }}
</div>
{{ tables.filters([("status", "Status", [("", "All calls"), ("missed", "Missed")])], "Number or caller") }}
{% call tables.table(["Time", "Caller", "Source", "#Talk time", "Status", "On", ""], "Calls") %}
{% for number in ["+14155552671", "+4930901820", none] %}
<tr class="opens">
  <td><a class="stretched-link" href="/samples">{{ then|moment }}</a></td>
  <td>{{ number|phone }}</td>
  <td>google / cpc / spring {{ page.bar(0.873) }}</td>
  <td class="num">{{ (72 * loop.index0 or none)|duration("not answered") }}</td>
  <td>{{ page.pill("answered", "good") }} {{ page.pill("missed", "bad") }} {{ page.pill("shared", "warn") }} {{ page.pill("none") }}</td>
  <td>{{ forms.switch("/samples", loop.first, "Switch on") }}</td>
  <td class="actions"><a class="btn btn-sm btn-outline-secondary" href="/samples">Edit</a>
    {%- call page.rarer("this call") %}<a class="btn btn-sm btn-outline-secondary" href="/samples">Copy</a>
    {{ page.confirm("Delete", "All of it will be lost.", "/samples") }}{% endcall %}</td>
</tr>
{% endfor %}
{% endcall %}
{{ tables.paging("abc") }}
{{ page.timeline([(then, "Rang the office", "quiet"), (then, "Answered", "good"), (then, "Hung up", "bad")]) }}
{{ page.bar(none) }} {{ 123456|money }} {{ none|money }} {{ none|moment }} {{ then|day }} {{ 0.5|percent }}
{% call page.empty("Calls will stand here.") %}<a class="btn btn-primary" href="/samples">Place one</a>{% endcall %}
{{ page.copy("<script async src='https://calls.example.net/tag/0123456789abcdef0123456789abcdef.js'></script>") }}
<form class="narrow">
  {{ forms.field("title", "Title", "", "Give it a name.", "Shown in the table.") }}
  {{ forms.field("selectors", "Selectors", ".phone", type="textarea", required=false) }}
  {{ forms.field("fixed", "Cannot be changed", "x", disabled=true) }}
  {{ forms.select("aim", "Aim", [("visit", "The visit"), ("source", "The source")], "source") }}
  {{ forms.check("enabled", "Enabled", true, "Gives out numbers.") }}
  {{ forms.submit("Save", "/samples") }}
</form>
<h2>Charts</h2>
{{ charts.lines(plan, "plan") }}
{{ charts.lines(days, "days") }}
{% for bar in sources %}<p class="ranged">{{ charts.bar_alone(bar) }}</p>{% endfor %}
{% endblock %}
"""

SIZES = [float(size) for size in range(1, 41)]
PLAN = LineChart(
    "What more numbers would do",
    "Right sources rise from 30 % to 99 %.",
    Across(SIZES, lambda size: f"{size:.0f}", ticks=[1, 10, 20, 30, 40], title="Numbers"),
    [
        Series("right sources, aim source", [1 - 0.7 / size for size in SIZES]),
        Series("right sources, aim visit", [1 - 0.9 / size**0.5 for size in SIZES]),
        Series("right visits, aim visit", [0.8 - 0.8 / size for size in SIZES]),
        Series("weekly cost", [115 * size for size in SIZES], second=True),
    ],
    second=money_axis("USD", "USD a week"),
    mark=(12, "today: 12 numbers"),
)
DAYS = LineChart(
    "Accuracy by day",
    "From 40 % to 100 %, with a gap on 7 Nov.",
    Across([float(day) for day in range(30)], lambda day: f"{day + 1:.0f} Nov"),
    [Series("accuracy", [None if day == 6 else 0.4 + 0.6 * day / 29 for day in range(30)])],
)
SOURCES = range_bars([(41, 38, 46), (12, 9, 14), (3, 3, 3)])


@samples.get("/samples")
def show() -> str:
    return render_template_string(
        TEMPLATE, then=datetime.now(UTC) - timedelta(minutes=5), plan=PLAN, days=DAYS, sources=SOURCES
    )
