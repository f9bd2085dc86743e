"""The one home of phone numbers: reading, spellings of one line, forms for showing, numbers on web pages, what a call
costs by its kind, masks for logs.

docs/numbers.md tells what is read, shown and taken for the same caller."""

from router.lib.phones.costs import Cost, cost_of, cost_warning, country_refusal
from router.lib.phones.labels import page_rules
from router.lib.phones.lines import MOST_SPELLINGS, line_of, same_line, spellings_of_line
from router.lib.phones.page import forms, parts, spellings
from router.lib.phones.reading import (
    E164,
    AmbiguousPhone,
    BadPhone,
    Caller,
    is_withheld,
    numbers_in,
    phone_or,
    read_caller,
    read_destination,
    read_dialled,
    read_dialled_anywhere,
    read_phone,
    readings_of,
    user_part,
)
from router.lib.phones.redaction import Redactor
from router.lib.phones.showing import (
    country_of,
    digit_forms,
    display,
    fill_mask,
    international,
    is_foreign_to,
    is_valid,
    masked,
    national,
)
