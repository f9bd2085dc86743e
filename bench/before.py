"""Another build beside this one: a checkout with an environment of its own (`.venv`), which runs from its own folder by its own supervisor
and answers the same load from the same data. It knows the bench's world of its time, on which the past of ours is put."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench import world
from bench.processes import Running, environment, running

WORLD = """
import sys
from bench import world
from router.database import Database, migrate
database = Database(sys.argv[1], pool_size=1)
migrate(database)
with database.writing() as session:
    world._make_called_numbers(session, iter(range(world.FIRST_E164, world.FIRST_E164 + world.CALLED_NUMBERS)))
database.dispose()
"""
SERVE = (
    "from router.supervisor import supervise, web_command; supervise({'web': web_command('router.app:create_app()')})"
)


@contextmanager
def serving_before(checkout: Path, name: str, database_url: str, folder: Path, past_calls: int) -> Iterator[Running]:
    """The other build, on an empty database that it fills."""
    python = str(checkout / ".venv/bin/python")
    environ = environment(database_url, folder / name, 0)
    subprocess.run([python, "-c", WORLD, database_url], cwd=checkout, env=environ, check=True)
    world.make_past(database_url, past_calls)
    with running(name, [python, "-c", SERVE], database_url, folder, cwd=checkout) as server:
        yield server
