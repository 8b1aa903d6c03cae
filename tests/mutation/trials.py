"""Tries mutants: the tests are collected once, and each mutant gets a process that is forked from there.

A mutant is tried on those tests alone that run what it changes, the quickest first, until one fails.
"""

import contextlib
import importlib
import io
import json
import os
import signal
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import pytest

OPTIONS = ("-x", "-q", "-p", "no:cacheprovider", "--capture=sys", "--timeout=60")

LONGEST_SECONDS = 900.0
"""A trial that takes longer is ended, and counts as noticed: the mutant hangs where no test's time limit reaches."""

Watch: TypeAlias = Callable[[], Callable[[], set[str]]]
"""Called in a process of its own before its tests; what it returns tells, after each test, what has run since."""


@dataclass(frozen=True, slots=True)
class Trial:
    """A mutant: what has to run for it to matter, and what puts it in place in this process."""

    name: str
    reached: str
    begin: Callable[[], None]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a mutant, and what noticed it.

    ``status`` is ``noticed``, ``noticed by mypy``, ``timed out`` (in a test), ``hung`` (outside of them), ``survived``
    or ``untested``.
    """

    name: str
    status: str
    seconds: float
    by: str = ""

    @property
    def well(self) -> bool:
        """Whether some test saw the mutant."""
        return self.status not in {"survived", "untested"}


@dataclass(slots=True)
class _Task:
    """What a forked process does: ``tests`` are the ids of its tests."""

    name: str
    tests: Sequence[str]
    begin: Callable[[], None]
    began: float = field(default_factory=time.monotonic)


class Trials:
    """A pytest plugin that does everything between the collection and the end."""

    def __init__(
        self, trials: Sequence[Trial], watch: Watch, processes: int, kept: Path, tell: Callable[[Verdict], None]
    ) -> None:
        """Prepare to try each of ``trials`` and to ``tell`` what became of it; ``kept`` says which test runs what."""
        self.error = ""
        self.failed = ""
        self.child = False
        self._trials = trials
        self._watch = watch
        self._processes = processes
        self._kept = kept
        self._tell = tell
        self._reach: dict[str, Any] = {"seconds": {}, "tests": {}}
        self._running: dict[int, _Task] = {}
        self._words = Path(tempfile.mkdtemp(dir=kept.parent))
        self._ran: Callable[[], set[str]] = set
        self._seconds: dict[str, float] = defaultdict(float)
        self._tests: dict[str, list[str]] = defaultdict(list)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        """Fork; None in a process that is forked, which goes on to run the tests that it was left with."""
        # Not imported before pytest is there; that an example fails is enough to know.
        hypothesis = importlib.import_module("hypothesis")
        hypothesis.settings.register_profile("mutation", deadline=None, phases=[hypothesis.Phase.generate])
        hypothesis.settings.load_profile("mutation")
        if not self._kept.exists():
            if self._fork_each(session, self._shares(session), self._measured):
                return None
            if not self.error:
                self._kept.write_text(json.dumps(self._reach))
        self._reach = self._reach if self.error else json.loads(self._kept.read_text())
        if not self.error and self._fork_each(session, self._attempts(), self._tried):
            return None
        return True

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add up what a test takes, with its set-up, and remember the first that fails."""
        self._seconds[report.nodeid] += report.duration
        if report.failed and not self.failed:
            crash = getattr(report.longrepr, "reprcrash", None)
            self.failed = f"{report.nodeid}: {crash.message if crash else report.longreprtext[-300:]}"

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """Take what ran since the test before for the test's own."""
        for name in self._ran():
            self._tests[name].append(nodeid)

    def leave(self, code: int) -> None:
        """End a forked process, and leave word of what it saw."""
        word = {"code": code, "failed": self.failed, "seconds": self._seconds, "tests": self._tests}
        (self._words / str(os.getpid())).write_text(json.dumps(word))
        os._exit(0)

    def _shares(self, session: pytest.Session) -> Iterator[_Task]:
        ids = [item.nodeid for item in session.items]
        for number in range(self._processes):
            yield _Task("nothing changed", ids[number :: self._processes], self._begin_to_watch)

    def _begin_to_watch(self) -> None:
        self._ran = self._watch()

    def _measured(self, task: _Task, word: dict[str, Any]) -> None:
        if word["code"]:
            self.error = f"the tests fail although {task.name}: {word['failed']}"
        self._reach["seconds"].update(word["seconds"])
        for name, tests in word["tests"].items():
            self._reach["tests"].setdefault(name, []).extend(tests)

    def _attempts(self) -> Iterator[_Task]:
        seconds, reached = self._reach["seconds"], self._reach["tests"]
        # Where few tests can notice, little is to be done: those mutants come first.
        for trial in sorted(self._trials, key=lambda trial: len(reached.get(trial.reached, ()))):
            if trial.reached in reached:
                yield _Task(trial.name, sorted(reached[trial.reached], key=seconds.__getitem__), trial.begin)
            else:
                self._tell(Verdict(trial.name, "untested", 0.0))

    def _tried(self, task: _Task, word: dict[str, Any]) -> None:
        status = "noticed" if word["code"] else "survived"
        if word["code"] is None:
            status = "hung"
        elif "from pytest-timeout" in word["failed"]:
            status = "timed out"
        self._tell(Verdict(task.name, status, round(time.monotonic() - task.began, 1), word["failed"]))

    def _fork_each(
        self, session: pytest.Session, tasks: Iterable[_Task], done: Callable[[_Task, dict[str, Any]], None]
    ) -> bool:
        """Give each task a process; True in such a process."""
        for task in tasks:
            while len(self._running) >= self._processes:
                self._reap(done)
            task.began = time.monotonic()
            if not (pid := os.fork()):
                self._become(session, task)
                return True
            self._running[pid] = task
        while self._running:
            self._reap(done)
        return False

    def _become(self, session: pytest.Session, task: _Task) -> None:
        self.child = True
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (1, 2):
            os.dup2(nowhere, stream)
        items = {item.nodeid: item for item in session.items}
        session.items[:] = [items[test] for test in task.tests if test in items]
        task.begin()

    def _reap(self, done: Callable[[_Task, dict[str, Any]], None]) -> None:
        pid, _ = os.waitpid(-1, os.WNOHANG)
        if pid in self._running:
            left = self._words / str(pid)
            # A process that ends without a word was killed, or ended by the mutant.
            word = json.loads(left.read_text()) if left.exists() else {"code": None, "failed": "ended without a word"}
            left.unlink(missing_ok=True)
            done(self._running.pop(pid), word)
            return
        for running, task in self._running.items():
            if time.monotonic() - task.began > LONGEST_SECONDS:
                os.kill(running, signal.SIGKILL)
        time.sleep(0.02)


def try_all(trials: Sequence[Trial], tests: Sequence[str], watch: Watch, processes: int, kept: Path) -> list[Verdict]:
    """Try every mutant on ``tests``; which of them run what is kept in the file ``kept``, and not measured again."""
    verdicts: list[Verdict] = []
    stdout = sys.stdout

    def tell(verdict: Verdict) -> None:
        verdicts.append(verdict)
        place = f"{len(verdicts)}/{len(trials)}"
        stdout.write(f"{place} {verdict.status} {verdict.name} ({verdict.seconds} s) {verdict.by[:150]!r}\n")
        stdout.flush()

    plugin = Trials(trials, watch, processes, kept, tell)
    code: int = pytest.ExitCode.INTERNAL_ERROR
    try:
        with contextlib.redirect_stdout(said := io.StringIO()):
            code = pytest.main([*OPTIONS, *tests], plugins=[plugin])
    finally:
        if plugin.child:
            # Also from here where the end of the session raised what a mutant left behind.
            plugin.leave(int(code))
    if plugin.error or code:
        raise RuntimeError(plugin.error or f"pytest ended with {code!r}: {said.getvalue()[-2000:]}")
    return verdicts


def judge(half: str, verdicts: Sequence[Verdict], accepted: Container[str]) -> bool:
    """Say what became of the mutants, and name those that are neither noticed nor accepted."""
    unknown = [verdict for verdict in verdicts if not verdict.well and verdict.name not in accepted]
    for verdict in unknown:
        sys.stdout.write(f"{verdict.status.upper()} {verdict.name}\n")
    counts = ", ".join(f"{count} {status}" for status, count in Counter(one.status for one in verdicts).most_common())
    sys.stdout.write(f"{half}: {len(verdicts)} mutants: {counts}; {len(unknown)} not accepted\n")
    return not unknown
