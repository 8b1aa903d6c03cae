"""Change one thing at a time in what the promises rest on: some test must notice.

The Python by mutmut, as ``[tool.mutmut]`` in pyproject.toml says; the SQL by ``tests.mutation.statements``.
"""

import argparse
import contextlib
import importlib
import io
import multiprocessing
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import aiosql
import pytest

from tests.mutation.accepted import ACCEPTED
from tests.mutation.statements import Mutant, mutants
from tests.support.server import ADDRESS, TestServer, reachable_folder

ROOT = Path(__file__).parents[2]

TESTS = (
    "tests/storage/test_ledger.py",
    "tests/storage/test_reaping.py",
    "tests/storage/test_operators.py",
    "tests/storage/test_mirror.py",
    "tests/storage/test_scans.py",
    "tests/supervision/test_prospects.py",
    "tests/service/test_core.py",
    "tests/storage/test_stateful.py",
)
OPTIONS = ("-x", "-q", "-p", "no:cacheprovider", "-k", "not twin", "--timeout=30", "--hypothesis-profile=mutation")


def statements() -> list[Mutant]:
    """Return the mutants of the ledger's SQL, and of every other statement that holds a fence."""
    return [
        *mutants("ledger"),
        *mutants("mirror", "advance", "commits_of", "remove"),
        *mutants("scans", "hold", "unfinished", "drop_scan"),
    ]


def is_noticed(mutant: Mutant) -> tuple[Mutant, bool]:
    """Run the tests on the mutant, in a process that does nothing else afterwards."""
    changed = aiosql.from_str(mutant.text(), "asyncpg", mandatory_parameters=False)
    vars(importlib.import_module(f"emag_syncd.storage.{mutant.file}"))["sql"] = changed
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        code = pytest.main([*OPTIONS, *TESTS])
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        raise RuntimeError(f"pytest ended with {code!r} on {mutant.name}")
    return mutant, code == pytest.ExitCode.TESTS_FAILED


def mutate_statements(wanted: Sequence[Mutant], processes: int) -> bool:
    """Try every mutant; whether each that no test noticed is accepted."""
    # What is imported here is not imported again for each mutant.
    with contextlib.redirect_stdout(io.StringIO()):
        pytest.main(["--collect-only", "-q", *TESTS])
    # That an example fails is enough to know.
    hypothesis = importlib.import_module("hypothesis")
    hypothesis.settings.register_profile("mutation", deadline=None, database=None, phases=[hypothesis.Phase.generate])
    survivors = []
    with multiprocessing.get_context("fork").Pool(processes, maxtasksperchild=1) as pool:
        unchanged = Mutant("ledger", "", "nothing changed", "")
        if pool.apply(is_noticed, (unchanged,))[1]:
            raise SystemExit("the tests fail although nothing is changed: run them by themselves")
        for number, (mutant, noticed) in enumerate(pool.imap_unordered(is_noticed, wanted), 1):
            if not noticed:
                survivors.append(mutant.name)
            sys.stdout.write(f"{number}/{len(wanted)} {'noticed' if noticed else 'SURVIVED'} {mutant.name}\n")
    unknown = [name for name in survivors if name not in ACCEPTED]
    sys.stdout.write(f"SQL: {len(wanted)} mutants, {len(survivors)} survived, {len(unknown)} not accepted\n")
    return not unknown


def mutate_python(processes: int, names: Sequence[str]) -> bool:
    """Let mutmut loose on a copy of the checkout; what survived it lists by itself."""
    with tempfile.TemporaryDirectory() as folder:
        laid_out = Path(folder)
        (laid_out / "src").symlink_to(ROOT / "daemon")
        for name in ("tests", "migrations", "pyproject.toml"):
            (laid_out / name).symlink_to(ROOT / name)
        environment = {**os.environ, "MYPYPATH": "src", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        mutmut = [sys.executable, "-m", "mutmut"]
        run = [*mutmut, "run", "--max-children", str(processes), *names]
        done = subprocess.run(run, cwd=folder, env=environment, check=False).returncode == 0
        subprocess.run([*mutmut, "results"], cwd=folder, env=environment, check=False)
    return done


def main() -> int:
    """Mutate what was asked for, on one PostgreSQL for all."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("what", choices=("sql", "python"), nargs="*", default=["sql", "python"])
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--sample", type=int, help="this many of the SQL mutants, drawn at random")
    parser.add_argument("--names", nargs="*", default=(), help="patterns of mutmut's mutants")
    args = parser.parse_args()
    wanted = statements()
    if args.sample:
        wanted = random.sample(wanted, min(args.sample, len(wanted)))
    with reachable_folder() as folder, TestServer(folder) as server:
        os.environ[ADDRESS] = server.url
        well = [mutate_statements(wanted, args.processes)] if "sql" in args.what else []
        if "python" in args.what:
            well.append(mutate_python(args.processes, args.names))
    return 0 if all(well) else 1


if __name__ == "__main__":
    sys.exit(main())
