"""What the tag of the example shop asks the server."""

from typing import Any

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

SITE = {"Origin": "https://shop.example", "User-Agent": "Mozilla/5.0"}
GOOGLE = "https://shop.example/?utm_source=google&utm_medium=cpc&utm_campaign=spring"


def view(client: FlaskClient, page: str = GOOGLE, headers: dict[str, str] = SITE, **body: Any) -> TestResponse:
    return client.post("/tag/k-shop/visits", json={"page": page, "referrer": ""} | body, headers=headers)


def sign(client: FlaskClient, token: str, kind: str = "alive", **body: Any) -> TestResponse:
    return client.post(f"/tag/k-shop/visits/{token}/{kind}", json=body, headers=SITE)
