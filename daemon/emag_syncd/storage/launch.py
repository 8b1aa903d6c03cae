"""Start a program that ends with this daemon: ``python -I -S launch.py PARENT USER GROUP PROGRAM ARGUMENT…``.

A step of its own instead of ``preexec_fn``, which runs Python between fork and exec: unsafe in a process with
threads. Standard library only: it runs without the site packages.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    """Drop root's rights, ask the kernel for SIGINT when the parent dies, and become the program.

    ``SIGINT`` is PostgreSQL's fast shutdown: open transactions are rolled back and nothing needs recovery.
    """
    parent, user, group = (int(number) for number in arguments[:3])
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(group)
        os.setuid(user)
    # After the change of user, which clears the setting. It is the forking thread's death that counts.
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(signal.SIGINT), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent:
        sys.exit("the daemon ended before its server started")
    os.umask(0o077)
    program = arguments[3:]
    os.execv(program[0], program)  # noqa: S606 - a fixed program with fixed arguments, and no shell


if __name__ == "__main__":
    main(sys.argv[1:])
