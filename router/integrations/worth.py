"""What a call is worth, as receivers of conversions are told: an amount and its currency."""

from typing import ClassVar

from pydantic import BaseModel, ValidationInfo, field_validator

from router.lib.formats import CURRENCIES, parse_money


class Worth(BaseModel):
    """Checks the settings `value` and `currency`, which a vendor declares in its own words."""

    lacks_currency: ClassVar[str] = "A value needs its currency."

    @field_validator("value", check_fields=False)
    @classmethod
    def _amount(cls, value: str) -> str:
        if value and parse_money(value, "") < 0:
            raise ValueError("A call is not worth less than nothing.")
        return value

    @field_validator("currency", check_fields=False)
    @classmethod
    def _currency(cls, value: str, info: ValidationInfo) -> str:
        if value and value not in CURRENCIES:
            raise ValueError(f"“{value[:20]}” is no currency: three letters as EUR or USD.")
        if not value and info.data.get("value"):
            raise ValueError(cls.lacks_currency)
        if value and info.data.get("value"):
            parse_money(info.data["value"], value)
        return value
