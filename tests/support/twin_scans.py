"""The scans of the ledger in plain Python."""

from datetime import timedelta

from emag_syncd.domain.batches import ScanRef
from emag_syncd.domain.runs import Lease
from tests.support.twin import Tables


class ScansTwin:
    """Does what ``storage.scans.Scans`` does, as far as a run's right to write goes."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    async def open(self, lease: Lease, *, resume_within_seconds: float) -> ScanRef:
        row = self._tables.fence(lease)
        of_lease = {"account_type": lease.account, "operation": lease.operation}
        for scan_id, scan in list(self._tables.scans.items()):
            if of_lease.items() <= scan.items():
                if scan["started_at"] > self._tables.now() - timedelta(seconds=resume_within_seconds):
                    row["scan_id"] = scan_id
                    return ScanRef(scan_id, scan["pass"])
                del self._tables.scans[scan_id]
                self._tables.pages = [page for page in self._tables.pages if page[0] != scan_id]
        row["scan_id"] = self._tables.draw_id()
        self._tables.scans[row["scan_id"]] = {**of_lease, "pass": 1, "started_at": self._tables.now()}
        return ScanRef(row["scan_id"], 1)

    async def next_pass(self, lease: Lease, scan: ScanRef) -> ScanRef:
        self._tables.fence(lease)
        if scan.id in self._tables.scans:
            self._tables.scans[scan.id]["pass"] = scan.pass_no + 1
        return ScanRef(scan.id, scan.pass_no + 1)
