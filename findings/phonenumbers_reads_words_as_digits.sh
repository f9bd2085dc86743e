#!/usr/bin/env bash
# phonenumbers 9.0.43 (libphonenumber): a word behind a number becomes part of it.
#
# Guess: "030 7664398 privat" either raises or gives +49307664398, for only 1-800-FLOWERS and its like have letters.
# Seen: three letters and more anywhere behind the first digit are read as a telephone's keypad has them, fewer are dropped. In countries
# whose numbers vary in length the longer number is valid: another line rings. The pause signs p and w of address books vanish, and the
# digits that were to be dialled after the answer become digits of the number. The finder for running text (PhoneNumberMatcher) stops at
# the letters.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check phonenumbers==9.0.43
"$folder/venv/bin/python" - <<'PYTHON'
import phonenumbers

print("phonenumbers", phonenumbers.__version__)
expected = {
    "030 7664398 privat": "+49307664398774828",
    "030 7664398 Tel": "+49307664398835",
    "030 7664398 App. 12": "+4930766439827712",
    "+49307664398p12": "+4930766439812",
}
for text, seen in expected.items():
    number = phonenumbers.parse(text, "DE")
    e164 = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    found = [match.raw_string for match in phonenumbers.PhoneNumberMatcher(text, "DE")]
    print(f"{text!r}: {e164}, valid: {phonenumbers.is_valid_number(number)}; in running text: {found}")
    assert e164 == seen and phonenumbers.is_valid_number(number), "the behaviour has changed"
PYTHON
