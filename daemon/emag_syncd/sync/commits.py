"""The commits of one run: in order, each once, whatever happens to the connection meanwhile."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from emag_syncd.domain.batches import Batch, Progress, ScanRef
from emag_syncd.domain.errors import FencedError, SetBackError
from emag_syncd.domain.runs import Lease
from emag_syncd.storage.mirror import Mirror, Turn, at_once
from emag_syncd.sync.patience import persist

T = TypeVar("T")


class Committer:
    """Writes the batches of one run."""

    def __init__(self, mirror: Mirror, lease: Lease, *, patience_seconds: float) -> None:
        """Write under ``lease``; wait ``patience_seconds`` at most for a database that is away."""
        self._mirror = mirror
        self._lease = lease
        self._patience = patience_seconds
        self._begun = 0

    async def commit(self, scan: ScanRef | None, batch: Batch, progress: Progress, turn: Turn = at_once) -> None:
        """Write ``batch``, once. The next may be begun meanwhile, and waits for its ``turn``.

        Raises FencedError when the run was ended, SetBackError when the database lost an earlier commit of it,
        DatabaseError when it can't be done.
        """
        tries = 0
        number = self._begun
        self._begun += 1

        async def attempt() -> None:
            nonlocal tries
            tries += 1
            try:
                await self._mirror.commit(self._lease, scan, batch, progress, commits=number, turn=turn)
            except FencedError as error:
                recorded = await self._mirror.commits_of(self._lease)
                # An earlier try may have been committed although its answer was lost.
                if tries > 1 and recorded == number + 1:
                    return
                if recorded is None:
                    raise
                raise SetBackError(self._lease.run_id, made=number, recorded=recorded) from error

        await self.persist(attempt)

    async def persist(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do ``work``, which reads, as often as it takes while the database is away."""
        return await persist(work, seconds=self._patience)
