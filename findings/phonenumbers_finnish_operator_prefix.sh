#!/usr/bin/env bash
# phonenumbers 9.0.43 (libphonenumber): in Finland, digits of Azerbaijan without their plus are a number of the country code 1.
#
# Guess: a Finnish call log with 994123123456 (Azerbaijan, without its plus) is either read as +994 or refused as no Finnish number.
# Seen: operators in Finland have international prefixes of their own (990, 991, 994, 996, 999, 995xx …). "994" is taken for one, and what
# is left begins with 1: a number of the country code 1 with eight digits. It parses without an error, so a caller that only catches
# exceptions files it under North America. In Sweden and Estonia the same digits become national ones, which is_valid_number refuses.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check phonenumbers==9.0.43
"$folder/venv/bin/python" - <<'PYTHON'
import phonenumbers
from phonenumbers import CountryCodeSource, PhoneNumberFormat

print("phonenumbers", phonenumbers.__version__)
for country in ("FI", "SE", "EE"):
    number = phonenumbers.parse("994123123456", country, keep_raw_input=True)
    source = CountryCodeSource.to_string(number.country_code_source)
    print(country, phonenumbers.format_number(number, PhoneNumberFormat.E164), source, number.country_code)
    assert not phonenumbers.is_valid_number(number)
    if country == "FI":
        assert number.country_code == 1, "the behaviour has changed"
        assert number.country_code_source == CountryCodeSource.FROM_NUMBER_WITH_IDD, "the behaviour has changed"
PYTHON
