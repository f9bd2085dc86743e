"""scripts/environment.sh beside a pip that takes its time: who waits sees what comes, and never from where."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[1] / "scripts"
LOCK = (
    "alpha==1.0 \\\n    --hash=sha256:00\nbig-one==2.0 ; python_version >= '3.11' \\\n    --hash=sha256:00\nlast==3\n"
)
HOST = "wheels.example"
FROM = f"https://{HOST}"
SAID = f"""Looking in indexes: https://user:secret@{HOST}/all, file:///srv/{HOST}/all
WARNING: Location 'file:///srv/{HOST}/all/alpha/' is ignored: it is neither a file nor a directory.
Collecting alpha==1.0 (from -r requirements.lock (line 1))
  Downloading {FROM}/alpha-1.0-py3-none-any.whl (12 kB)
Collecting big-one==2.0 (from -r requirements.lock (line 3))
  Downloading {FROM}/big_one-2.0-py3-none-any.whl (61.9 MB)
"""
RETRYING = (
    f"WARNING: Retrying (Retry(total=4)) after connection broken by 'ReadTimeoutError(\"HTTPSConnectionPool(host='{HOST}', port=443): "
    "Read timed out.\")': /all/last/\n"
)
FAILED = f"ERROR: Could not install packages: HTTPSConnectionPool(host='{HOST}', port=443), {FROM}/last.whl\n"


def begin(folder: Path, pip: str) -> "subprocess.Popen[str]":
    """The script in a folder of its own, with an environment whose pip is a shell script."""
    (folder / "requirements.lock").write_text(LOCK)
    shutil.copytree(SCRIPTS, folder / "scripts")
    python = folder / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    (folder / "said").write_text(SAID)
    (folder / "pip.py").write_text(f"import os\nos.execvp('sh', ['sh', '-c', {pip!r}])\n")
    return again(folder)


def again(folder: Path) -> "subprocess.Popen[str]":
    environ = os.environ | {"PYTHON": sys.executable, "PYTHONPATH": str(folder)}
    command = ["sh", "scripts/environment.sh", "requirements.lock"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=folder, env=environ, **pipes)  # type: ignore[call-overload, no-any-return]  # options in a dict have one type


def test_what_is_being_installed_is_said_while_pip_still_waits_for_it(tmp_path: Path) -> None:
    waits = "while [ ! -e arrived ]; do sleep 0.05; done"
    rest = (
        f"cat retrying; echo 'Collecting last==3 (from x)'; echo 'Installing collected packages: alpha'; echo '{HOST}'"
    )
    (tmp_path / "retrying").write_text(RETRYING * 3)
    with begin(tmp_path, f"cat said; {waits}; {rest}") as process:
        assert process.stdout
        try:
            first = [process.stdout.readline() for _ in range(2)]
        finally:
            (tmp_path / "arrived").touch()
        said, complaints = process.communicate()
    assert first == [
        "Installing the 3 packages of requirements.lock into .venv (once)\n",
        "  2 of 3: big-one (61.9 MB)\n",
    ]
    assert said == "  big-one is slow to come: asking again\n  All are here: unpacking them\n"
    assert (process.returncode, complaints) == (0, "")
    with again(tmp_path) as second:
        assert second.communicate() == ("", ""), "it is done already"
    assert second.returncode == 0


def test_a_failure_is_said_without_the_address_and_tried_again_the_next_time(tmp_path: Path) -> None:
    (tmp_path / "failed").write_text(FAILED)
    for process in (begin(tmp_path, "cat said; cat failed >&2; exit 1"), again(tmp_path)):
        with process:
            said, complaints = process.communicate()
        assert process.returncode == 1
        assert complaints.startswith("ERROR: Could not install packages: ")
        assert HOST not in said + complaints
        assert "secret" not in said + complaints


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
def test_the_lock_files_name_no_index(lock: str) -> None:
    text = (SCRIPTS.parent / lock).read_text()
    assert "://" not in text
    assert "--index-url" not in text
