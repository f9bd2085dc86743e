"""All pages that a browser looks at; every part of the product adds its own."""

from dataclasses import dataclass

from router.scenarios.wizard.forms import NAMES


@dataclass(frozen=True)
class PageToSee:
    """`path` may name ids of Alice's project (`/calls/{call_id}`, see tests/people.py). `who`: alice, olivia, or nobody."""

    path: str
    heading: str = ""
    """Part of the page's title."""
    who: str = "alice"
    is_another_at_a_desk: bool = False
    """Whether a desk shows parts that a telephone has not, or has in another shape: tables, charts."""

    @property
    def name(self) -> str:
        """What its pictures are called."""
        return self.path if self.who == "alice" else f"{self.path}-{self.who}"


PAGES = [
    PageToSee("/sign-in", "Sign in", "nobody"),
    PageToSee("/api/v1/docs", "API", "nobody"),
    PageToSee("/samples", "Samples", is_another_at_a_desk=True),
    PageToSee("/nothing", "Not found"),
    PageToSee("/projects", "Projects", "olivia"),
    PageToSee("/projects/new", "New project", "olivia"),
    PageToSee("/scenarios/{scenario_id}/delete", "Delete Spring sale"),
    PageToSee("/numbers/add", "Add own numbers"),
    PageToSee("/settings", "Settings"),
    PageToSee("/settings/install", "Settings"),
    PageToSee("/settings/tag", "Settings"),
    PageToSee("/settings/blocked", "Settings"),
    PageToSee("/settings/holidays", "Settings"),
    PageToSee("/settings/sounds", "Settings"),
    PageToSee("/settings/carrier", "Settings"),
    PageToSee("/calls/messages", "Text messages", is_another_at_a_desk=True),
    PageToSee("/calls/{blocked_call_id}", "blocked"),
    PageToSee("/settings/people", "Settings"),
    PageToSee("/settings/tokens", "Settings"),
    PageToSee("/settings/audit", "Settings"),
    PageToSee("/profile", "Alice"),
    PageToSee("/overview", "Overview", is_another_at_a_desk=True),
    PageToSee("/scenarios", "Scenarios", is_another_at_a_desk=True),
    *(PageToSee(f"/scenarios/new/{{draft_id}}/{step}", "New scenario") for step in NAMES),
    PageToSee("/scenarios/new/{draft_id}/numbers?search=1", "New scenario"),
    PageToSee("/scenarios/{scenario_id}/play", "Play this flow"),
    PageToSee("/scenarios/{scenario_id}/review", "Spring sale is on"),
    PageToSee("/scenarios/{scenario_id}/numbers", "Spring sale"),
    PageToSee("/scenarios/{scenario_id}/terms?stored=1", "Spring sale"),
    PageToSee("/scenarios/{scenario_id}/upkeep?now=1", "Upkeep of Spring sale"),
    PageToSee("/scenarios/{scenario_id}/accuracy", "Accuracy of Spring sale"),
    PageToSee("/scenarios/{scenario_id}/plan", "How many numbers for Spring sale"),
    PageToSee("/scenarios/{planning_id}/plan", "How many numbers"),
    PageToSee("/scenarios/{unplanned_id}/plan", "How many numbers"),
    PageToSee("/settings/old-settings", "Settings"),
    PageToSee("/settings/call-history", "Settings"),
    PageToSee("/numbers", "Numbers", is_another_at_a_desk=True),
    PageToSee("/numbers/buy", "Buy numbers"),
    PageToSee("/numbers/compliance?country=HU", "Bundles and addresses", "olivia"),
    PageToSee("/numbers/batches/{batch_id}", "Buying"),
    PageToSee("/numbers/move?number={number_id}", "Move"),
    PageToSee("/balance", "Balance"),
    PageToSee("/balance", "Balance", "olivia"),
    PageToSee("/balance/mails", "Balance"),
    PageToSee("/balance/top-up", "Top up", "olivia"),
    PageToSee("/numbers/release?number={rented_id}&number={number_id}", "Give back"),
    PageToSee("/reports", "Reports"),
    PageToSee("/reports?by=campaign&from=2026-11-01&to=2026-11-23", "Reports"),
    PageToSee("/numbers/leaks", "Leaks"),
    PageToSee("/calls", "Calls", is_another_at_a_desk=True),
    PageToSee("/calls?from=2026-11-01&to=2026-11-23&source=google&medium=cpc", "Calls"),
    PageToSee("/calls/{call_id}", is_another_at_a_desk=True),
    PageToSee("/deliveries", "Deliveries"),
    PageToSee("/deliveries/{delivery_id}"),
]
