"""The Python half: mutmut makes the mutants, and mypy sorts out those that it sees, as pyproject.toml says."""

import contextlib
import io
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from fnmatch import fnmatch
from functools import partial
from pathlib import Path

from mutmut.__main__ import create_mutants
from mutmut.configuration import config
from mutmut.mutation import trampoline
from mutmut.mutation.data import SourceFileMutationData
from mutmut.mutation.diff_apply import get_diff_for_mutant
from mutmut.mutation.file_mutation import filter_mutants_with_type_checker
from mutmut.utils.file_utils import copy_also_copy_files, copy_src_dir, setup_source_paths, walk_mutatable_files
from mutmut.utils.format_utils import mangled_name_from_mutant_name

from tests.mutation.accepted import PYTHON
from tests.mutation.trials import Trial, Verdict, judge, try_all

ROOT = Path(__file__).parents[2]


def _generate(processes: int) -> tuple[list[str], set[str]]:
    """Make the copy; return the names of its mutants and of those that mypy sees."""
    with contextlib.redirect_stdout(io.StringIO()):
        copy_src_dir()
        copy_also_copy_files()
        create_mutants(processes)
    setup_source_paths()
    names = []
    for path in walk_mutatable_files():
        data = SourceFileMutationData(path=path)
        data.load()
        names += list(data.exit_code_by_key)
    return names, set(filter_mutants_with_type_checker())


def _watch() -> Callable[[], set[str]]:
    """Take note of the functions that run in this process."""
    run: set[str] = set()

    def note(name: str, caller: str | None = None) -> None:
        run.add(name)

    def taken() -> set[str]:
        now = set(run)
        run.clear()
        return now

    vars(trampoline)["record_trampoline_hit"] = note
    trampoline.set_mutant_under_test("stats")
    return taken


def _change(name: str) -> str:
    """Return what the list of accepted survivors calls a mutant: mutmut's own numbers move with the code."""
    lines = get_diff_for_mutant(name).splitlines()
    old, new = (
        " ".join(line[1:].strip() for line in lines if line.startswith(sign) and not line.startswith(sign * 3))
        for sign in "-+"
    )
    place = mangled_name_from_mutant_name(name).removeprefix("emag_syncd.").replace("xǁ", "").replace("ǁ", ".")
    return f"{place.replace('.x_', '.')}: {old} -> {new}"


def main() -> int:
    """Try the mutants in the folder that this process was started in."""
    folder, processes, *patterns = Path.cwd(), int(sys.argv[1]), *sys.argv[2:]
    names, seen = _generate(processes)
    wanted = [name for name in names if not patterns or any(fnmatch(name, pattern) for pattern in patterns)]
    trials = [
        Trial(name, mangled_name_from_mutant_name(name), partial(trampoline.set_mutant_under_test, name))
        for name in wanted
        if name not in seen
    ]
    trampoline.set_mutant_under_test("")
    tests = config().pytest_add_cli_args_test_selection
    os.chdir(ROOT)
    verdicts = try_all(trials, tests, _watch, processes, folder / "python.json")
    os.chdir(folder)
    verdicts = [one if one.well else replace(one, name=_change(one.name)) for one in verdicts]
    verdicts += [Verdict(name, "noticed by mypy", 0.0) for name in wanted if name in seen]
    return 0 if judge("Python", verdicts, PYTHON) else 1


if __name__ == "__main__":
    sys.exit(main())
