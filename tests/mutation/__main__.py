"""Change one thing at a time in what the promises rest on: some test must notice.

The Python by mutmut, as ``[tool.mutmut]`` in pyproject.toml says; the SQL by ``tests.mutation.statements``. Both are
tried by ``tests.mutation.trials``.
"""

import argparse
import os
import random
import subprocess
import sys
from collections.abc import Callable, Sequence
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from typing import Any

import aiosql

from emag_syncd.storage import queries
from tests.mutation.accepted import SQL
from tests.mutation.statements import Mutant, mutants
from tests.mutation.trials import Trial, judge, try_all
from tests.support.server import ADDRESS, TEMPLATE, TestServer, reachable_folder

ROOT = Path(__file__).parents[2]

FILES = ("ledger", "mirror", "scans")

TESTS = (
    "tests/storage/test_ledger.py",
    "tests/storage/test_reaping.py",
    "tests/storage/test_operators.py",
    "tests/storage/test_mirror.py",
    "tests/storage/test_scans.py",
    "tests/storage/test_slots.py",
    "tests/supervision",
    "tests/sync/test_fencing.py",
    "tests/sync/test_removals.py",
    "tests/sync/test_resuming.py",
    "tests/service/test_core.py",
    "tests/storage/test_stateful.py",
)


def statements() -> list[Mutant]:
    """Return the mutants of the ledger's SQL, and of every other statement that holds a fence."""
    return [
        *mutants("ledger"),
        *mutants("mirror", "advance", "commits_of", "remove"),
        *mutants("scans", "hold", "unfinished", "drop_scan"),
    ]


def put_in(mutant: Mutant) -> None:
    """Let everything in this process that runs the query run the mutant."""
    changed = aiosql.from_str(mutant.text(), "asyncpg", mandatory_parameters=False)
    setattr(getattr(queries, mutant.file), mutant.query, getattr(changed, mutant.query))


def watch_queries() -> Callable[[], set[str]]:
    """Take note of the queries that run in this process."""
    run: set[str] = set()

    def noting(name: str, query: Callable[..., Any]) -> Callable[..., Any]:
        def noted(*args: Any, **kwargs: Any) -> Any:
            run.add(name)
            return query(*args, **kwargs)

        return noted

    def taken() -> set[str]:
        now = set(run)
        run.clear()
        return now

    for file in FILES:
        named = getattr(queries, file)
        for query in named.available_queries:
            setattr(named, query, noting(f"{file}.{query}", getattr(named, query)))
    return taken


def mutate_statements(names: Sequence[str], sample: int | None, processes: int, kept: Path) -> bool:
    """Try every mutant; whether each that no test noticed is accepted."""
    wanted = [one for one in statements() if not names or any(fnmatch(one.reached, name) for name in names)]
    if sample:
        wanted = random.sample(wanted, min(sample, len(wanted)))
    trials = [Trial(mutant.name, mutant.reached, partial(put_in, mutant)) for mutant in wanted]
    return judge("SQL", try_all(trials, TESTS, watch_queries, processes, kept / "sql.json"), SQL)


def mutate_python(names: Sequence[str], processes: int, kept: Path) -> bool:
    """Try every mutant in a process of its own, where the package is a copy that holds them all.

    Whether each that no test noticed is accepted.
    """
    for name, target in (("src", "daemon"), ("migrations", "migrations"), ("pyproject.toml", "pyproject.toml")):
        if not (kept / name).exists():
            (kept / name).symlink_to(ROOT / target)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "MYPYPATH": "src", "PATH": path, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tests.mutation.python", str(processes), *names]
    return subprocess.run(command, cwd=kept, env=environment, check=False).returncode == 0


def main() -> int:
    """Mutate what was asked for, on one PostgreSQL for all."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("what", choices=("sql", "python"), nargs="*", default=["sql", "python"])
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--sample", type=int, help="this many of the SQL mutants, drawn at random")
    parser.add_argument("--names", nargs="*", default=(), help="patterns of queries, or of mutmut's mutants")
    parser.add_argument("--keep", type=Path, help="a folder for what need not be found out again: which test runs what")
    args = parser.parse_args()
    with reachable_folder(in_memory=True) as folder, TestServer(folder) as server:
        os.environ.update({ADDRESS: server.url, TEMPLATE: server.template})
        kept = (args.keep or folder).absolute()
        kept.mkdir(exist_ok=True)
        well = []
        if "sql" in args.what:
            well.append(mutate_statements(args.names, args.sample, args.processes, kept))
        if "python" in args.what:
            well.append(mutate_python(args.names, args.processes, kept))
    return 0 if all(well) else 1


if __name__ == "__main__":
    sys.exit(main())
