"""The tag as a file: small, harmless where it is copied, the same for the same project."""

import gzip
import json
import re

from router.attribution.script import FOLDER, MODULES, as_literal, tag_script

BASE = "https://calls.example.net"


def test_it_is_under_five_kilobytes_compressed() -> None:
    assert len(tag_script(BASE, "a" * 32).compressed) < 5000


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
