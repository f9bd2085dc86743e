"""Calls and visits in the API's description."""

from typing import Any

from pydantic import BaseModel


class CallSource(BaseModel):
    channel: str
    source: str
    medium: str
    campaign: str
    term: str
    content: str


class Candidate(BaseModel):
    """A visit that could have called; `visit` is its visit number."""

    visit: int
    probability: float


class CallAttribution(BaseModel):
    """`rule`: repeat, static, lease, none, or imported."""

    rule: str
    confidence: float | None
    source_confidence: float | None
    candidates: list[Candidate]


class CallDelivery(BaseModel):
    id: int
    slot: str
    kind: str
    event: str
    state: str
    reason: str | None
    attempts: int
    done_at: str | None


class CallDocument(BaseModel):
    """A call, as webhooks bring it too. `kind`: external, or internal when it came from one of the project's own telephones; an internal
    call counts in no figures, and tells what a visitor's would have been credited to. `duration` is the talk time in seconds. What comes
    from its visit is as the visit is now: `params` are the site's own fields, also those that its pages told after the call began;
    `click_ids`, by their names in lower case (`gclid`, `sccid`), and `ga` are empty where consent is lacking or was withdrawn."""

    id: int
    sid: str
    kind: str
    started_at: str
    caller: str | None
    number: str
    scenario: int | None
    destination: str | None
    status: str
    first_call: bool
    ring_seconds: int | None
    duration: int | None
    visit: int | None
    landing_page: str | None
    referrer: str | None
    source: CallSource | None
    attribution: CallAttribution
    click_ids: dict[str, str]
    ga: dict[str, str]
    params: dict[str, str]
    recording: str | None
    deliveries: list[CallDelivery]


class VisitDocument(BaseModel):
    """A visit. `source_at` is before `started_at` when it came back directly and keeps its last known source. `limited`: the visitor did
    not consent to a cookie, so no click ids are known and the addresses are without identifiers. `params`: the site's own fields."""

    visit: int
    visitor: str
    started_at: str
    last_sign_at: str
    landing_page: str
    referrer: str | None
    source: CallSource
    source_at: str
    click_ids: dict[str, str]
    ga: dict[str, str]
    params: dict[str, str]
    limited: bool
    spans: list[dict[str, Any]]
    numbers: list[dict[str, Any]]
    calls: list[CallDocument]
