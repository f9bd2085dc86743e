"""Installs a lock file's packages with this Python's pip, and says in a few lines what is coming: each package that takes a while, every
tenth, and why it failed; never where pip asks. Usage: .venv/bin/python scripts/install.py requirements.lock
"""

import os
import re
import subprocess
import sys
from collections import deque
from pathlib import Path

lock = sys.argv[1]
packages = len(re.findall(r"^[A-Za-z0-9]", Path(lock).read_text(), re.MULTILINE))
print(f"Installing the {packages} packages of {lock} into .venv (once)", flush=True)

options = ["--disable-pip-version-check", "--progress-bar=off", "--require-hashes", f"--requirement={lock}"]
pip = subprocess.Popen(
    [sys.executable, "-m", "pip", "install", *options],
    env=os.environ | {"PYTHONUNBUFFERED": "1"},
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
    errors="replace",
)
assert pip.stdout
last: deque[str] = deque(maxlen=8)
done, name, said, asked_again = 0, "", True, False
for line in pip.stdout:
    if found := re.match(
        r"(?:Collecting|Processing) (?:\S*/)?([A-Za-z0-9._-]+?)(?:-[0-9].*|[^A-Za-z0-9._-].*)?$", line
    ):
        done, name, said, asked_again = done + 1, found[1], False, False
    size = re.match(r" +Downloading .*(\([0-9.]+ [MG]B\))$", line)
    if not said and (size or done % 10 == 0):
        print(f"  {done} of {packages}: {name}{' ' + size[1] if size else ''}", flush=True)
        said = True
    elif line.startswith("WARNING: Retrying ") and not asked_again:
        print(f"  {name} is slow to come: asking again", flush=True)
        asked_again = True
    elif line.startswith("Installing collected packages"):
        print("  All are here: unpacking them", flush=True)
    elif not re.match(r"Collecting|Processing|  |Looking in |WARNING: Location ", line):
        last.append(re.sub(r"[a-z+]+://[^\s,)\"']*|(?<=host=)'[^']*'", "(an address)", line))
if pip.wait() != 0:
    sys.exit("".join(last).rstrip() or "pip has failed")
