"""The one home of phone numbers: reading, forms for showing, numbers on web pages, masks for logs."""

from router.phones.masking import masked
from router.phones.page import forms, parts, spellings
from router.phones.reading import BadPhone, Caller, read_caller, read_destination, read_phone
from router.phones.showing import country_of, display, fill_mask, international, is_foreign_to, national

__all__ = [
    "BadPhone",
    "Caller",
    "country_of",
    "display",
    "fill_mask",
    "forms",
    "international",
    "is_foreign_to",
    "masked",
    "national",
    "parts",
    "read_caller",
    "read_destination",
    "read_phone",
    "spellings",
]
