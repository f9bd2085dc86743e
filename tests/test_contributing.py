"""CONTRIBUTING.md names files; each of them is there."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
MODELS = {"<vendor>": "odoo", "<carrier>": "twilio"}
"""The folders that stand for a new one."""


def test_the_files_that_contributing_names_exist() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    paths = re.findall(r"`((?:router|tests|templates|docs|scripts)/[^`\s]*)`", text)
    assert len(paths) > 15
    for placeholder, model in MODELS.items():
        paths = [path.replace(placeholder, model) for path in paths]
    assert [path for path in paths if not (ROOT / path).exists()] == []
