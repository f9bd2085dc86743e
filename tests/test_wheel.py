"""What `pip install .` gives: templates and static files are found inside the package."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's content in an empty folder."""
    folder = tmp_path_factory.mktemp("wheel")
    build = "import hatchling.build, sys; print(hatchling.build.build_wheel(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", build, str(folder)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    with zipfile.ZipFile(folder / done.stdout.split()[-1]) as wheel:
        wheel.extractall(folder / "site")
    return folder / "site"


def test_the_installed_server_finds_its_templates_tag_and_migrations(installed: Path, tmp_path: Path) -> None:
    script = """
from router.app import create_app
from router.db import migrate
from router.config import Settings
import pathlib, router
assert pathlib.Path(router.__file__).is_relative_to(pathlib.Path.cwd()), router.__file__
from router.attribution.tracking.referrers import unwanted
assert unwanted("www.paypal.com") == "never"
app = create_app(Settings(data_dir=pathlib.Path("data")))
migrate(app.extensions["router"].database)
client = app.test_client()
print(client.get("/sign-in").status_code, client.get("/static/router.css").status_code, client.get("/healthz").status_code)
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=installed,
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["200", "200", "200"]
