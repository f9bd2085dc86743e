"""Programs of Debian that a row of the table needs."""

import shutil
import subprocess
from pathlib import Path


def program(name: str, path: str, folder: Path) -> tuple[Path, dict[str, str]]:
    """The program and what its environment needs: the one that is installed, else Debian's package of that name, unpacked into a folder of
    ours with the libraries that this machine lacks.

    Args:
        path: of the program within the package.

    Raises:
        subprocess.CalledProcessError: it cannot be had here.
    """
    if found := shutil.which(name):
        return Path(found), {}
    planned = subprocess.run(
        ["apt-get", "install", "--simulate", "--no-install-recommends", name],
        check=True,
        capture_output=True,
        text=True,
    )
    packages = [line.split()[1] for line in planned.stdout.splitlines() if line.startswith("Inst ")]
    folder.mkdir()
    subprocess.run(["apt-get", "download", *packages], cwd=folder, check=True, capture_output=True)
    for archive in folder.glob("*.deb"):
        subprocess.run(["dpkg", "--extract", str(archive), str(folder)], check=True)
    libraries = ":".join(str(path) for path in (folder / "usr/lib").glob("*-linux-gnu"))
    return folder / path, {"LD_LIBRARY_PATH": libraries}
