"""Values as pages show them."""

import pytest

from router.web.filters import percent


@pytest.mark.parametrize(("share", "said"), [(0, "0 %"), (0.004, "under 1 %"), (0.999, "99 %"), (1, "100 %")])
def test_only_nothing_is_0_percent_and_only_everything_is_100(share: float, said: str) -> None:
    assert percent(share) == said
