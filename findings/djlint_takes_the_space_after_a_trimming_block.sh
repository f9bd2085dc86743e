#!/usr/bin/env bash
# djlint 1.54.0 with Jinja2 3.1.6: the formatter takes out a space that is text, so that two sentences are glued together.
#
# Guess: a formatter of templates changes how much white space stands somewhere, never whether there is some between two words.
# Seen: `{%- if sure %} On average` becomes `{%- if sure %}On average`. The minus has eaten the line before, so the space after the block
# was the only one: "had a number.On average". Without the minus the line break remains, and the same change is harmless. Nothing warns,
# `--check` is content afterwards, and a browser shows it only to those for whom the condition holds.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check djlint==1.54.0 jinja2==3.1.6
cd "$folder"
for block in '{%-' '{%'; do
  printf '<p>\n  Of 7 visits, 3 had a number.\n  %s if sure %%} On average we are sure.{%% endif %%}\n</p>\n' "$block" > page.html
  cp page.html formatted.html
  venv/bin/djlint --profile jinja --indent 2 --reformat --quiet formatted.html || true  # its status says that it changed something
  venv/bin/djlint --profile jinja --indent 2 --check --quiet formatted.html
  venv/bin/python - "$block" <<'PYTHON'
import sys
from importlib.metadata import version
from pathlib import Path

from jinja2 import Environment


def words(name):
    return " ".join(Environment().from_string(Path(name).read_text()).render(sure=True).split())


print("djlint", version("djlint"), "| block:", sys.argv[1], "| written:", words("page.html"), "| formatted:", words("formatted.html"))
assert "number. On" in words("page.html")
assert ("number. On" in words("formatted.html")) == (sys.argv[1] == "{%"), "the behaviour has changed"
PYTHON
done
