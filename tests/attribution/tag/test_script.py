"""The tag as a file: small, harmless where it is copied, the same for the same project."""

import gzip
import json
import re
from dataclasses import replace
from itertools import product

import pytest

from router.attribution.tag import FOLDER, TagOptions, as_literal, modules, tag_script

BASE = "https://calls.example.net"
OWN = "https://www.shop.example/calls"
YES_OR_NO = (False, True)
ALL_OPTIONS = [
    TagOptions(*one) for one in product(("full", "limited", "none"), YES_OR_NO, ("", OWN), YES_OR_NO, YES_OR_NO)
]
ALL_OPTIONS += [replace(one, ga_stream="G-K7QX2WB9ZD") for one in ALL_OPTIONS if not one.old_pages]
"""A project whose pages are old has no scenario, and so no stream."""


def settings_of(options: TagOptions) -> dict[str, object]:
    readable = tag_script(BASE, "k3y", options, debug=True).body.decode()
    literal = readable.partition("const settings = ")[2].partition(";\n")[0]
    return dict(json.loads(re.sub(r"([{,])(\w+):", r'\1"\2":', literal)))


@pytest.mark.parametrize("options", ALL_OPTIONS, ids=str)
def test_it_is_under_five_kilobytes_compressed_whatever_the_project_says(options: TagOptions) -> None:
    assert len(tag_script(BASE, "a" * 32, options).compressed) < 5000


def test_it_is_told_only_what_is_not_as_usual() -> None:
    usual = {"base": BASE, "key": "k3y"}
    assert settings_of(TagOptions()) == usual
    assert settings_of(TagOptions("none", True, OWN, ignore_automation=True, ga_stream="G-ABC")) == usual | {
        "ga": "G-ABC",
        "base": OWN,
        "own": 1,
        "consent": "none",
        "gpc": 1,
        "webdriver": 1,
    }


def test_whatever_a_project_says_makes_another_etag() -> None:
    assert len({tag_script(BASE, "k3y", options).etag for options in ALL_OPTIONS}) == len(ALL_OPTIONS)


def names_made_by(module: str) -> set[str]:
    return set(re.findall(r"^const (\w+)", (FOLDER / f"{module}.js").read_text(), re.MULTILINE))


def test_r13_old_classes_are_known_only_to_projects_without_scenarios() -> None:
    """Each of the two modules makes all names that the others use of either."""
    others = "".join((FOLDER / f"{name}.js").read_text() for name in modules(True) if name != "old")
    used = {name for name in names_made_by("old") | names_made_by("search") if re.search(rf"\b{name}\b", others)}
    assert used <= names_made_by("old")
    assert used <= names_made_by("search")
    assert set(modules(True)) ^ set(modules(False)) == {"old", "search"}


def test_compressed_and_plain_are_the_same_script() -> None:
    script = tag_script(BASE, "k3y")
    assert gzip.decompress(script.compressed) == script.body


def test_each_project_has_its_own_script_and_its_own_etag() -> None:
    one, other = tag_script(BASE, "one"), tag_script(BASE, "other")
    assert b'key:"one"' in one.body.replace(b'"key"', b"key")
    assert one.etag != other.etag
    assert tag_script(BASE, "one") is one


@pytest.mark.parametrize("old_pages", [False, True])
def test_the_readable_form_holds_every_module_with_its_comments(old_pages: bool) -> None:
    readable = tag_script(BASE, "k3y", TagOptions(old_pages=old_pages), debug=True).body.decode()
    assert all((FOLDER / f"{name}.js").read_text() in readable for name in modules(old_pages))
    assert {path.stem for path in FOLDER.glob("*.js")} == {*modules(False), *modules(True)}


def test_no_markup_is_parsed_and_no_text_is_run() -> None:
    readable = tag_script(BASE, "k3y", debug=True).body.decode()
    assert (
        re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|import\(", readable)
        == []
    )


def test_settings_cannot_break_out_of_the_script() -> None:
    hostile = {"base": "https://x/</script><script>alert(1)//\u2028&", "key": "\"'\\"}
    literal = as_literal(hostile)
    assert not set("<>&\u2028") & set(literal)
    assert json.loads(literal) == hostile
