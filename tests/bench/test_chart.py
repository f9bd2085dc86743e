"""The chart of the benchmark is drawn from what it prints."""

from xml.etree import ElementTree

from bench.traffic.chart import draw, read_tables

PRINTED = """
1,000 visits an hour, 297 calls
  numbers  pool        right sources   right visits  exclusive    ECE  ECE source
       20  classical   0.367 ± 0.056  0.232 ± 0.049      0.024      -           -
       20  source      1.000 ± 0.000  0.485 ± 0.058      0.033  0.042       0.001
       40  classical   0.401 ± 0.056  0.300 ± 0.049      0.024      -           -
       40  source      0.999 ± 0.000  0.585 ± 0.058      0.033  0.042       0.001
"""


def test_the_table_is_read_and_drawn_with_a_line_for_each_pool() -> None:
    tables = read_tables(PRINTED.splitlines())
    assert tables["1,000"]["source"] == [(20, (1.0, 0.485)), (40, (0.999, 0.585))]
    drawn = ElementTree.fromstring(draw(tables))
    lines = drawn.findall("{http://www.w3.org/2000/svg}polyline")
    assert len(lines) == 4
    assert {one.get("stroke") for one in lines} == {"#8a6d3b", "#0b7a5b"}
    assert "ours, aim source" in "".join(drawn.itertext())
