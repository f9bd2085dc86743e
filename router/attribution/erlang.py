"""How many numbers a pool needs: Erlang-B, which asks for nothing but the load (facts/market.md, 4.3)."""

BLOCKING = 0.01
"""The share of visits that may find every number taken (R9)."""


def smallest_pool(load: float, below: float = BLOCKING) -> int:
    """The smallest pool whose blocking is below this; 0 when nobody asks for a number."""
    if load <= 0:
        return 0
    found, numbers = 1.0, 0
    while found >= below:
        numbers += 1
        found = load * found / (numbers + load * found)
    return numbers
