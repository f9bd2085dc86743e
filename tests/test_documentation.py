"""What the documentation promises about settings and commands is there, and nothing of it is left out."""

import re
from pathlib import Path

from router.cli import router
from router.settings import SECRETS, Settings

ROOT = Path(__file__).parent.parent


def variables() -> set[str]:
    fields = {name: info for name, info in Settings.model_fields.items() if name != "demo"}
    return {str(info.validation_alias or f"ROUTER_{name.upper()}") for name, info in fields.items()}


def test_every_setting_stands_in_the_table_and_no_other() -> None:
    table = (ROOT / "docs/settings.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)`( §)? \|", table, re.MULTILINE))
    assert set(rows) == variables()
    assert {name for name, mark in rows.items() if mark} == set(SECRETS)


def test_the_readme_names_only_commands_that_exist() -> None:
    text = (ROOT / "README.md").read_text()
    named = set(re.findall(r"`(?:/opt/router/bin/)?router ([\w-]+)", text)) | set(
        re.findall(r"bin/router ([\w-]+)", text)
    )
    assert named
    assert named <= set(router.commands)


def test_everything_the_readme_links_to_is_there() -> None:
    text = (ROOT / "README.md").read_text()
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if not link.startswith("http")]
    assert all((ROOT / link).exists() for link in links), links
