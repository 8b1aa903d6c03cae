"""What a process shows of itself when it is aborted."""

import asyncio
import json
import signal
import sys

ABORTED = """
import asyncio, signal

from emag_syncd.telemetry.stacks import show_stacks_on_abort

def hang():
    signal.raise_signal(signal.SIGABRT)

async def inner():
    await asyncio.sleep(0)
    hang()

async def outer():
    await inner()

async def other():
    await asyncio.Event().wait()

async def main():
    other_task = asyncio.create_task(other(), name="waits")
    await asyncio.create_task(outer(), name="hangs")

show_stacks_on_abort()
import structlog
structlog.configure(processors=[structlog.processors.JSONRenderer()])
asyncio.run(main())
"""


async def test_a_task_that_runs_is_shown_down_to_what_it_calls() -> None:
    """It awaits nothing, so that its coroutine alone does not say where it is; those that wait say it as ever."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", ABORTED, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    assert process.returncode == -signal.SIGABRT
    lines = [json.loads(line) for line in output.splitlines()]
    where = {line["task"]: [frame.rpartition(" ")[2] for frame in line["where"]] for line in lines}
    assert where["hangs"] == ["outer", "inner", "hang"]
    assert where["waits"] == ["other", "wait"]
