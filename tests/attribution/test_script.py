"""The tag as a file: small, harmless where it is copied, the same for the same project."""

import gzip
import json
import re
from itertools import product

import pytest

from router.attribution.script import FOLDER, MODULES, WITHOUT_OLD_PAGES, TagOptions, as_literal, tag_script

BASE = "https://calls.example.net"
OWN = "https://www.shop.example/calls"
ALL_OPTIONS = [
    TagOptions(*one) for one in product(("full", "limited", "none"), (False, True), ("", OWN), (False, True))
]


def settings_of(options: TagOptions) -> dict[str, object]:
    readable = tag_script(BASE, "k3y", options, debug=True).body.decode()
    return dict(json.loads(readable.partition("const settings = ")[2].partition(";\n")[0]))


@pytest.mark.parametrize("options", [one for one in ALL_OPTIONS if not one.old_pages], ids=str)
def test_it_is_under_five_kilobytes_compressed_whatever_the_project_says(options: TagOptions) -> None:
    assert len(tag_script(BASE, "a" * 32, options).compressed) < 5000


def test_r13_it_is_under_five_kilobytes_compressed_with_the_module_for_old_pages() -> None:
    assert len(tag_script(BASE, "a" * 32).compressed) < 5000


def test_it_is_told_only_what_is_not_as_usual() -> None:
    usual = {"base": BASE, "key": "k3y", "alive": 45, "hold": 150}
    assert settings_of(TagOptions()) == usual
    assert settings_of(TagOptions("none", True, OWN)) == usual | {"base": OWN, "own": 1, "consent": "none", "gpc": 1}


def test_whatever_a_project_says_makes_another_etag() -> None:
    assert len({tag_script(BASE, "k3y", options).etag for options in ALL_OPTIONS}) == len(ALL_OPTIONS)


def test_r13_projects_with_a_scenario_do_without_the_module_for_old_pages() -> None:
    """What the other modules use of it has a stand-in that does nothing."""
    old = (FOLDER / "old.js").read_text()
    others = "".join((FOLDER / f"{name}.js").read_text() for name in MODULES if name != "old")
    used = {
        name
        for name in re.findall(r"^(?:function|const) (\w+)", old, re.MULTILINE)
        if re.search(rf"\b{name}\b", others)
    }
    readable = tag_script(BASE, "k3y", TagOptions(old_pages=False), debug=True).body.decode()
    assert old in tag_script(BASE, "k3y", debug=True).body.decode()
    assert old not in readable
    assert used == set(re.findall(r"(?:function|const) (\w+)", WITHOUT_OLD_PAGES))
    assert WITHOUT_OLD_PAGES in readable


def test_compressed_and_plain_are_the_same_script() -> None:
    script = tag_script(BASE, "k3y")
    assert gzip.decompress(script.compressed) == script.body


def test_each_project_has_its_own_script_and_its_own_etag() -> None:
    one, other = tag_script(BASE, "one"), tag_script(BASE, "other")
    assert b'key:"one"' in one.body.replace(b'"key"', b"key")
    assert one.etag != other.etag
    assert tag_script(BASE, "one") is one


def test_the_readable_form_holds_every_module_with_its_comments() -> None:
    readable = tag_script(BASE, "k3y", debug=True).body.decode()
    assert all((FOLDER / f"{name}.js").read_text() in readable for name in MODULES)
    assert {path.stem for path in FOLDER.glob("*.js")} == set(MODULES)


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
