"""What a scenario names of a webhook: its address, and the secret that signs the messages."""

from pydantic import BaseModel, ConfigDict, Field, field_validator

from router.integrations.base import Address, Secret
from router.integrations.webhook.sender import secret_bytes


class WebhookSettings(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    url: Address = Field(title="Address", examples=["https://example.com/calls"])
    secret: Secret | None = Field(None, title="Secret", description="Empty: one is made and shown once.")

    @field_validator("secret")
    @classmethod
    def _strong(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                secret_bytes(value)
            except ValueError as error:
                raise ValueError(
                    f"The secret {error}. Leave it out and one is made: whsec_ and the base64 of 24 to 64 bytes."
                ) from None
        return value
