"""What the documentation promises about settings and commands is there, and nothing of it is left out."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from router.cli import router
from router.config import SECRETS, Settings, read_settings

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


PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
RULES = ROOT / "docs/rules.md"
TEXTS = [
    *(path for name in ("README.md", "CONTRIBUTING.md") for path in ROOT.glob(name)),
    *(
        path
        for folder in ("bench", "docs", "router", "scripts", "tests")
        for path in sorted((ROOT / folder).rglob("*"))
    ),
]
TEXTS = [
    path for path in TEXTS if path.suffix in (".py", ".md", ".js", ".css", ".html") and "node_modules" not in path.parts
]


def test_every_rule_that_is_named_anywhere_is_told_on_the_page_of_rules() -> None:
    told = set(re.findall(r"^## (R\d+): ", RULES.read_text(), re.MULTILINE))
    named = {(name, path) for path in TEXTS for name in re.findall(r"\bR[1-9]\d?\b", path.read_text())}
    assert {rule for rule, _ in named} >= told
    assert [(rule, path) for rule, path in named if rule not in told] == []


def test_the_modules_of_every_rule_are_there() -> None:
    for rule in RULES.read_text().split("\n## ")[1:]:
        modules = re.findall(r"`(router/[^`]*)`", rule.partition("\nModules: ")[2])
        assert modules, rule
        assert [module for module in modules if not (ROOT / module).exists()] == []


def test_everything_a_page_links_to_is_there() -> None:
    for page in PAGES:
        text = page.read_text()
        for link, anchor in re.findall(r"\]\((?!https?:|mailto:)([^)#]*)(?:#([^)]*))?\)", text):
            target = page.parent / link if link else page
            assert target.exists(), (page, link)
            heads = (
                [head.casefold() for head in re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE)]
                if anchor
                else []
            )
            assert not anchor or anchor in [re.sub(r"[^\w -]", "", head).replace(" ", "-") for head in heads], (
                page,
                link,
                anchor,
            )


def test_no_text_refers_to_a_file_that_is_not_in_the_repository() -> None:
    named = re.compile(
        r"(?:(?:docs|router|tests|bench|scripts|findings)/[\w./-]*\w\.(?:py|html|js|css)|[\w./-]*\w\.md)\b"
    )
    for path in TEXTS:
        names = set(named.findall(re.sub(r"https?://\S+", "", path.read_text())))
        places = (ROOT, ROOT / "docs", path.parent)
        assert [name for name in names if not any((place / name).exists() for place in places)] == [], path


FENCED = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"(?<=\n\n)(?: {4}.*\n)+")
VALUE = re.compile(r"^\s*(?:export\s+|- )?[\w.-]+\s*[=:]\s*\S")
PROGRAMS = ("html", "js", "jsx", "javascript", "json", "python", "http")
"""Languages whose own comments are read by nobody else."""


def lines_to_copy(text: str) -> list[str]:
    """What people copy from a page into files of settings and into shells."""
    blocks = [block for language, block in FENCED.findall(text) if language not in PROGRAMS]
    return [line for block in blocks + INDENTED.findall(FENCED.sub("", text)) for line in block.splitlines()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_comment_stands_behind_a_value_or_a_command(page: Path) -> None:
    """For systemd and Docker it is part of the value, and for some shells of the command."""
    lines = lines_to_copy(page.read_text())
    assert [line for line in lines if re.search(r"\S\s+#", line)] == []
    assert [line for line in lines if VALUE.match(line) and re.search(r"\S\s+(;|//)\s", line)] == []


@pytest.mark.parametrize(
    "text",
    [
        "```sh\nA=b   # c\n```\n",
        "  ```ini\nA = b # c\n  ```\n",
        "x\n\n    export A=b\t# c\n",
        "```\nmake run # c\n```\n",
    ],
)
def test_a_comment_behind_a_value_would_be_found(text: str) -> None:
    assert any(re.search(r"\S\s+#", line) for line in lines_to_copy(text))


def test_the_readmes_file_of_settings_is_the_same_for_a_shell_and_for_docker(tmp_path: Path) -> None:
    """And for systemd, which reads such lines as they stand."""
    [block] = [block for _, block in FENCED.findall((ROOT / "README.md").read_text()) if "ROUTER_SECRET_KEY=" in block]
    block = block.replace("…", "0123456789abcdef")
    as_it_stands = dict(line.split("=", 1) for line in block.splitlines())
    assert set(as_it_stands) <= variables()
    path = tmp_path / "router.env"
    path.write_text(block)
    shell = subprocess.run(
        ["sh", "-c", 'set -a; . "$0"; env -0', str(path)],
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        check=True,
    )
    read = dict(line.split("=", 1) for line in shell.stdout.decode().split("\0") if line)
    assert {name: read.get(name) for name in as_it_stands} == as_it_stands
    given = read_settings(as_it_stands)
    assert (given.secret_key, given.twilio_auth_token) == ("0123456789abcdef",) * 2
