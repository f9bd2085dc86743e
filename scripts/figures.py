"""Figures of the house: modules, lines, functions, and what one page view runs through.

    python3 scripts/figures.py [FOLDER ...]       counts; FOLDER below router/, all when none is named
    .venv/bin/python scripts/figures.py --page-view   modules and functions that one page view executes

Private functions used once are those with a leading underscore and no decorator whose name occurs once in their own file.
"""

import ast
import collections
import statistics
import sys
import tempfile
from pathlib import Path
from types import FrameType

ROOT = Path(__file__).resolve().parent.parent
APART = ("carriers/simulator", "demo", "migrations")  # counted, but not in the sum of the product


def count(folder: Path) -> None:
    """Print one line for each folder directly below, then the sum without what stands apart."""
    rows: dict[str, list[tuple[int, list[int], int, int]]] = collections.defaultdict(list)
    for path in sorted(folder.rglob("*.py")):
        name = path.relative_to(ROOT / "router").as_posix()
        group = next((apart for apart in APART if name.startswith(apart)), name.split("/")[0] if "/" in name else ".")
        rows[group].append(_module(path))
    print(f"{'':22}{'modules':>8}{'lines':>8}{'functions':>10}{'median':>7}{'p90':>5}{'used once':>11}")
    for group, modules in sorted(rows.items()):
        _print(group, modules)
    _print("the product", [module for group, modules in rows.items() if group not in APART for module in modules])
    _print("all", [module for modules in rows.values() for module in modules])


def _module(path: Path) -> tuple[int, list[int], int, int]:
    source = path.read_text()
    tree = ast.parse(source)
    used = collections.Counter(node.id for node in ast.walk(tree) if isinstance(node, ast.Name))
    used.update(node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    once = [
        function
        for function in functions
        if function.name.startswith("_")
        and not function.name.startswith("__")
        and not function.decorator_list
        and used[function.name] == 1
    ]
    lengths = [(function.end_lineno or 0) - function.lineno + 1 for function in functions]
    return source.count("\n"), lengths, len(once), len(functions)


def _print(group: str, modules: list[tuple[int, list[int], int, int]]) -> None:
    lengths = sorted(length for module in modules for length in module[1]) or [0]
    functions = sum(module[3] for module in modules)
    once = sum(module[2] for module in modules)
    print(
        f"{group:22}{len(modules):8}{sum(module[0] for module in modules):8}{functions:10}"
        f"{statistics.median(lengths):7.0f}{lengths[int(len(lengths) * 0.9)]:5}{once:5} {once / max(functions, 1):5.0%}"
    )


def page_view() -> None:
    """Trace the second page view of a session in the benchmark's world, and print which modules and functions of router/ run."""
    sys.path.insert(0, str(ROOT))
    from bench import world
    from bench.__main__ import views
    from bench.load import requests_of
    from bench.processes import Running
    from bench.statements import send
    from router.app import create_app
    from router.config import Settings
    from tests.postgres import postgres_cluster

    executed: set[tuple[str, str]] = set()

    def trace(frame: FrameType, event: str, _: object) -> None:
        path = Path(frame.f_code.co_filename)
        if event == "call" and path.is_relative_to(ROOT / "router"):
            executed.add((path.relative_to(ROOT).as_posix(), frame.f_code.co_qualname))

    with postgres_cluster() as cluster, tempfile.TemporaryDirectory() as folder:
        url = world.make_database(cluster, "figures", past_calls=100)
        app = create_app(
            Settings(database_url=url, data_dir=Path(folder), secret_key="figures-0123456789", visit_rate="off")
        )
        with app.test_client() as client:
            first, second = requests_of(views(Running("traced", 0, 0, url), 1, "pool-200")[1], 2)
            send(client, first)
            sys.setprofile(trace)
            send(client, second)
            sys.setprofile(None)
        app.extensions["router"].database.dispose()
    modules = sorted({module for module, _ in executed})
    print("\n".join(modules))
    print(f"{len(modules)} modules, {len(executed)} functions")


if __name__ == "__main__":
    arguments = sys.argv[1:]
    if arguments == ["--page-view"]:
        page_view()
    else:
        for named in arguments or [""]:
            count(ROOT / "router" / named)
