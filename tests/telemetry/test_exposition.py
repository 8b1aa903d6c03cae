"""What a scrape gets: as the library writes it, and little to write for very many accounts."""

import pytest
from prometheus_client import generate_latest
from prometheus_client.exposition import choose_encoder

from emag_syncd.domain.calls import ApiCall, CallOutcome
from emag_syncd.domain.runs import Counters, ErrorKind, Operation, Status
from emag_syncd.telemetry.metrics import PART, Metrics
from emag_syncd.telemetry.series import SchedulerOutcome

OPENMETRICS = "application/openmetrics-text; version=1.0.0"
OWN = b"emag_"
RUN = "00000000-0000-0000-0000-000000000001"


def used() -> Metrics:
    """Return metrics of three accounts, of which two were used, and one that is not configured."""
    metrics = Metrics(["main", "fbe", "idle"], "1.2.3")
    for account in ("main", "fbe", "gone"):
        metrics.run_started(account)
        metrics.run_finished(account, Operation.FULL, Status.FAILED, 1234.5, [ErrorKind.TIMEOUT], run_id=RUN)
        metrics.run_finished(account, Operation.INCREMENTAL, Status.COMPLETED, 1e-7)
        metrics.page(account, Counters(created_items=12_345_678))
        metrics.call(ApiCall(account, "vat/read", 0, 3.25, CallOutcome.OK), RUN)
        metrics.call(ApiCall(account, "product_offer/save", 0, 0.1, CallOutcome.CREDENTIALS))
    metrics.scheduler(SchedulerOutcome.STARTED)
    metrics.next_run("main", Operation.FULL, None)
    return metrics


def own_lines(text: bytes) -> list[bytes]:
    """Return what is ours: the process has used more of everything when it is asked again."""
    return sorted(line for line in text.splitlines() if OWN in line or line == b"# EOF")


def test_prometheus_text_is_the_library_s() -> None:
    """Line by line, for accounts that were used, that were not, and that nobody configured."""
    metrics = used()
    assert own_lines(metrics.render()[0]) == own_lines(generate_latest(metrics.registry))


def test_openmetrics_is_the_library_s() -> None:
    """The same, with the latest run of each bucket; the end comes once, and last."""
    metrics = used()
    assert own_lines(metrics.render(OPENMETRICS)[0]) == own_lines(choose_encoder(OPENMETRICS)[0](metrics.registry))
    assert metrics.render(OPENMETRICS)[0].endswith(b"\n# EOF\n")


@pytest.mark.parametrize("accept", ["", OPENMETRICS])
def test_a_metric_s_lines_stand_together(accept: str) -> None:
    """As the format wants it: after its TYPE, and before the next one's."""
    family = ""
    for line in used().render(accept)[0].decode().splitlines():
        if line.startswith("# TYPE emag_"):
            family = line.split()[2]
        elif line.startswith("emag_"):
            assert line.startswith(family)


def test_very_many_accounts_come_in_parts() -> None:
    """No part is large, and all series of all accounts are there."""
    number = 5 * PART
    parts, _ = Metrics([f"a{one:04}" for one in range(number)], "1.2.3").scrape()
    sizes, series = [], 0
    for part in parts:
        sizes.append(len(part))
        series += part.count(b'account="')
    assert max(sizes) < 2 * 2**20
    alone = Metrics(["a0000"], "1.2.3").render()[0]
    assert series == number * alone.count(b'account="')
