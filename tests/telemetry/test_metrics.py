"""The metrics: every series of the contract from the start, each moved by its event, none open-ended."""

import math
import re
import shutil
import subprocess
import time
from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from emag_syncd.domain.calls import ApiCall, CallOutcome
from emag_syncd.domain.runs import Counters, ErrorKind, Operation, Status
from emag_syncd.telemetry import metrics as module
from emag_syncd.telemetry.metrics import Metrics
from emag_syncd.telemetry.series import OTHER, PoolState, ProductState, SchedulerOutcome, WebhookOutcome
from tests.support.engines import settings_of

OWN_LIMIT = {"sync": {"timeout_seconds": 60}}

# The contract's own list, with the number of series that two accounts make.
CONTRACT = {
    "emag_sync_duration_seconds_count": ({"account", "operation", "status"}, 24),
    "emag_sync_runs_total": ({"account", "operation", "status"}, 24),
    "emag_sync_products_total": ({"account", "action"}, 10),
    "emag_sync_errors_total": ({"account", "kind"}, 26),
    "emag_sync_in_progress": ({"account"}, 2),
    "emag_sync_last_success_timestamp_seconds": ({"account", "operation"}, 6),
    "emag_sync_last_run_status": ({"account", "operation", "status"}, 24),
    "emag_sync_running_since_timestamp_seconds": ({"account"}, 2),
    "emag_sync_timeouts_total": ({"account"}, 2),
    "emag_sync_abandoned_total": ({"account"}, 2),
    "emag_sync_stale_runs": (set(), 1),
    "emag_watchdog_reaped_total": ({"account", "kind"}, 26),
    "emag_watchdog_last_run_timestamp_seconds": (set(), 1),
    "emag_api_requests_total": ({"account", "resource", "outcome"}, 60),
    "emag_api_request_duration_seconds_count": ({"account", "resource"}, 6),
    "emag_api_rate_limit_hits_total": ({"account"}, 2),
    "emag_api_rate_limit_wait_seconds_total": ({"account"}, 2),
    "emag_products": ({"account", "state"}, 16),
    "emag_scheduler_runs_total": ({"outcome"}, 6),
    "emag_scheduler_next_run_timestamp_seconds": ({"account", "operation"}, 4),
    "emag_event_loop_lag_seconds": (set(), 1),
    "emag_db_pool_connections": ({"state"}, 2),
    "emag_webhook_deliveries_total": ({"outcome"}, 3),
    "emag_webhook_backlog": ({"state"}, 2),
    "emag_retention_deleted_total": ({"table"}, 7),
    "emag_webhook_oldest_pending_seconds": (set(), 1),
    "emag_syncd_config_seconds": ({"setting"}, 6),
    "emag_sync_timeout_seconds": ({"account"}, 2),
    "emag_sync_schedule_interval_seconds": ({"account", "operation"}, 4),
    "emag_api_refused": ({"account", "reason"}, 4),
    "emag_syncd_build_info": ({"version", "python"}, 1),
}


@pytest.fixture
def metrics() -> Metrics:
    """Give the metrics of two accounts."""
    return Metrics(["main", "fbe"], "1.2.3")


def series(metrics: Metrics) -> Iterator[tuple[str, dict[str, str], float]]:
    """Yield every sample that a scrape has."""
    for family in text_string_to_metric_families(metrics.render()[0].decode()):
        for sample in family.samples:
            yield sample.name, dict(sample.labels), sample.value


def value(metrics: Metrics, name: str, **labels: str) -> float:
    """Return one sample of a scrape."""
    (found,) = (one for sample, its, one in series(metrics) if sample == name and its == labels)
    return found


def test_every_series_exists_from_the_start(metrics: Metrics) -> None:
    """Each metric of the contract has its labels, and a series for every value they can have."""
    found = list(series(metrics))
    for name, (labels, number) in CONTRACT.items():
        own = [set(its) for sample, its, _ in found if sample == name]
        assert len(own) == number, name
        assert all(one == labels for one in own), name
    names = {name for name, _, _ in found}
    assert {"process_resident_memory_bytes", "process_start_time_seconds", "python_info"} <= names
    assert "python_gc_objects_collected_total" in names
    assert not [name for name in names if name.endswith("_created")]


def test_what_is_not_known_yet_is_not_a_number(metrics: Metrics) -> None:
    """Times and limits are NaN at first: zero would be decades ago to an alert."""
    for name, _, found in series(metrics):
        if name.startswith("emag_") and ("timestamp" in name or "config" in name):
            assert math.isnan(found), name
    assert value(metrics, "emag_sync_in_progress", account="main") == 0


def test_a_run_moves_its_series(metrics: Metrics) -> None:
    """From start to end: in progress, since when, how long, how it ended, and its errors."""
    before = time.time()
    metrics.run_started("main")
    assert value(metrics, "emag_sync_in_progress", account="main") == 1
    assert value(metrics, "emag_sync_running_since_timestamp_seconds", account="main") >= before
    metrics.run_finished("main", Operation.FULL, Status.FAILED, 600.5, [ErrorKind.TIMEOUT])
    labels = {"account": "main", "operation": "full_sync"}
    assert value(metrics, "emag_sync_in_progress", account="main") == 0
    assert math.isnan(value(metrics, "emag_sync_running_since_timestamp_seconds", account="main"))
    assert value(metrics, "emag_sync_runs_total", **labels, status="failed") == 1
    assert value(metrics, "emag_sync_errors_total", account="main", kind="timeout") == 1
    assert value(metrics, "emag_sync_duration_seconds_sum", **labels, status="failed") == 600.5
    assert value(metrics, "emag_sync_duration_seconds_bucket", **labels, status="failed", le="590.0") == 0
    assert value(metrics, "emag_sync_duration_seconds_bucket", **labels, status="failed", le="630.0") == 1
    assert math.isnan(value(metrics, "emag_sync_last_success_timestamp_seconds", **labels))
    metrics.run_finished("main", Operation.FULL, Status.COMPLETED, 1)
    assert value(metrics, "emag_sync_last_success_timestamp_seconds", **labels) >= before
    assert value(metrics, "emag_sync_last_run_status", **labels, status="completed") == 1
    assert value(metrics, "emag_sync_last_run_status", **labels, status="failed") == 0
    assert value(metrics, "emag_sync_runs_total", account="fbe", operation="full_sync", status="failed") == 0


def test_what_the_database_knows_is_restored(metrics: Metrics) -> None:
    """After a restart the last success and status are as they were, and no run is counted for it."""
    metrics.last_success("main", Operation.INCREMENTAL, 1_700_000_000)
    metrics.last_run("main", Operation.INCREMENTAL, Status.PARTIAL)
    labels = {"account": "main", "operation": "incremental_sync"}
    assert value(metrics, "emag_sync_last_success_timestamp_seconds", **labels) == 1_700_000_000
    assert value(metrics, "emag_sync_last_run_status", **labels, status="partial") == 1
    assert value(metrics, "emag_sync_runs_total", **labels, status="partial") == 0


def test_a_page_moves_the_products(metrics: Metrics) -> None:
    """Each counter of a page goes to the action of its name, and pages add up."""
    page = Counters(created_items=1, updated_items=2, unchanged_items=3, removed_items=4, failed_items=5)
    metrics.page("main", page)
    metrics.page("main", page)
    for action, number in {"created": 2, "updated": 4, "unchanged": 6, "removed": 8, "failed": 10}.items():
        assert value(metrics, "emag_sync_products_total", account="main", action=action) == number


def test_a_call_moves_the_api_series(metrics: Metrics) -> None:
    """Outcome, duration, pacing and refusals of the marketplace are counted per account."""
    metrics.call(ApiCall("main", "product_offer/read", 0, 3.0, CallOutcome.TIMEOUT))
    metrics.rate_limited("main")
    metrics.paced("main", 0.25)
    metrics.paced("main", 0.25)
    labels = {"account": "main", "resource": "product_offer/read"}
    assert value(metrics, "emag_api_requests_total", **labels, outcome="timeout") == 1
    assert value(metrics, "emag_api_request_duration_seconds_bucket", **labels, le="2.0") == 0
    assert value(metrics, "emag_api_request_duration_seconds_bucket", **labels, le="4.0") == 1
    assert value(metrics, "emag_api_rate_limit_hits_total", account="main") == 1
    assert value(metrics, "emag_api_rate_limit_wait_seconds_total", account="main") == 0.5


def test_the_other_events_move_their_series(metrics: Metrics) -> None:
    """Watchdog, scheduler, pool, products and webhooks each have one call that moves one series."""
    metrics.timeout("main")
    metrics.abandoned("main")
    metrics.stale_runs(2)
    metrics.reaped("main", ErrorKind.STALE)
    metrics.watchdog_ran(1_700_000_000)
    metrics.scheduler(SchedulerOutcome.BUSY)
    metrics.next_run("main", Operation.FULL, 1_800_000_000)
    metrics.next_run("fbe", Operation.FULL, None)
    metrics.schedule_interval("main", Operation.FULL, 86400)
    metrics.db_pool(PoolState.IDLE, 3)
    metrics.stored("main", ProductState.ACTIVE, 7)
    metrics.webhook(WebhookOutcome.DELIVERED)
    metrics.webhook_backlog(3, 1, 7.5)
    full = {"account": "main", "operation": "full_sync"}
    assert value(metrics, "emag_sync_timeouts_total", account="main") == 1
    assert value(metrics, "emag_sync_abandoned_total", account="main") == 1
    assert value(metrics, "emag_sync_stale_runs") == 2
    assert value(metrics, "emag_watchdog_reaped_total", account="main", kind="stale") == 1
    assert value(metrics, "emag_watchdog_last_run_timestamp_seconds") == 1_700_000_000
    assert value(metrics, "emag_scheduler_runs_total", outcome="busy") == 1
    assert value(metrics, "emag_scheduler_next_run_timestamp_seconds", **full) == 1_800_000_000
    assert value(metrics, "emag_sync_schedule_interval_seconds", **full) == 86400
    assert value(metrics, "emag_db_pool_connections", state="idle") == 3
    assert value(metrics, "emag_products", account="main", state="active") == 7
    assert value(metrics, "emag_webhook_deliveries_total", outcome="delivered") == 1
    assert value(metrics, "emag_webhook_backlog", state="pending") == 3
    assert value(metrics, "emag_webhook_backlog", state="dead") == 1
    assert value(metrics, "emag_webhook_oldest_pending_seconds") == 7.5


def test_limits_are_published_for_alerts(metrics: Metrics) -> None:
    """Each limit that an alert compares with is there under its setting's name, and follows a reload."""
    metrics.configured(settings_of("main", "fbe", own={"fbe": OWN_LIMIT}, sync={"timeout_seconds": 1200}))
    assert value(metrics, "emag_sync_timeout_seconds", account="main") == 1200
    assert value(metrics, "emag_sync_timeout_seconds", account="fbe") == 60
    assert value(metrics, "emag_syncd_config_seconds", setting="sync.timeout_seconds") == 1200
    assert not [name for name, _, one in series(metrics) if "config" in name and math.isnan(one)]


def test_the_lag_is_the_longest_of_the_last_minute(metrics: Metrics, monkeypatch: pytest.MonkeyPatch) -> None:
    """A spike between two scrapes is seen, for a minute, and then the longest since."""
    seen = []
    for now, lag in ((0, 0.1), (10, 0.9), (20, 0.2), (30, 0.3), (69, 0.1), (71, 0.1), (95, 0.0)):
        monkeypatch.setattr(module, "monotonic", lambda now=now: now)
        metrics.loop_lag(lag)
        seen.append(value(metrics, "emag_event_loop_lag_seconds"))
    assert seen == [0.1, 0.9, 0.9, 0.9, 0.9, 0.3, 0.1]


def test_unknown_accounts_and_resources_share_a_series(metrics: Metrics) -> None:
    """Rows of accounts that nobody configured can't make series without end."""
    for number in range(5):
        metrics.reaped(f"unknown-{number}", ErrorKind.STALE)
        metrics.call(ApiCall("main", f"odd/{number}", 0, 1, CallOutcome.OK))
    assert value(metrics, "emag_watchdog_reaped_total", account=OTHER, kind="stale") == 5
    assert value(metrics, "emag_api_requests_total", account="main", resource=OTHER, outcome="ok") == 5
    assert not [labels for _, labels, _ in series(metrics) if "unknown-1" in labels.values()]


def test_an_account_that_comes_later_has_its_series(metrics: Metrics) -> None:
    """A reload that adds an account adds all of its series, once."""
    metrics.add_account("new")
    metrics.add_account("new")
    assert value(metrics, "emag_sync_in_progress", account="new") == 0


def test_the_format_is_negotiated(metrics: Metrics) -> None:
    """Prometheus text unless OpenMetrics is asked for, and both are what they say."""
    metrics.run_finished("main", Operation.FULL, Status.COMPLETED, 1)
    text, kind = metrics.render("*/*")
    assert kind.startswith("text/plain; version=")
    body, kind = metrics.render("application/openmetrics-text; version=1.0.0")
    assert kind.startswith("application/openmetrics-text; version=")
    assert body.endswith(b"# EOF\n")
    assert b"# TYPE emag_sync_runs counter\n" in body
    assert b"# TYPE emag_syncd_build info\n" in body
    assert b"_created" not in text + body


def test_what_took_so_long_is_named(metrics: Metrics) -> None:
    """In OpenMetrics a bucket names the latest run that fell into it; the plain text has no word for that."""
    run, other = (f"00000000-0000-0000-0000-00000000000{n}" for n in (1, 2))
    metrics.run_finished("main", Operation.FULL, Status.COMPLETED, 20, run_id=run)
    metrics.run_finished("main", Operation.FULL, Status.COMPLETED, 30, run_id=other)
    metrics.run_finished("main", Operation.FULL, Status.COMPLETED, 700, run_id=run)
    metrics.call(ApiCall("main", "vat/read", 0, 3.0, CallOutcome.OK), run)
    body = metrics.render("application/openmetrics-text; version=1.0.0")[0].decode()
    found = dict(re.findall(r'^(\w+\{.*le="[\d.]+".*\}) \d+\.0 # \{run_id="(.+)"\} [\d.]+ ', body, re.MULTILINE))
    labels = 'account="main",le="{}",operation="full_sync",status="completed"'
    assert found == {
        f"emag_sync_duration_seconds_bucket{{{labels.format('60.0')}}}": other,
        f"emag_sync_duration_seconds_bucket{{{labels.format('1800.0')}}}": run,
        'emag_api_request_duration_seconds_bucket{account="main",le="4.0",resource="vat/read"}': run,
    }
    assert run not in metrics.render()[0].decode()


def test_a_refusal_lasts_until_the_next_good_answer(metrics: Metrics) -> None:
    """What the marketplace holds against an account is published until it answers; an outage changes nothing."""
    said = []
    for outcome in ("ok", "credentials", "timeout", "ip_not_allowed", "ok"):
        metrics.call(ApiCall("main", "product_offer/read", 0, 1, CallOutcome(outcome)))
        reasons = ("credentials", "ip_not_allowed")
        said.append([value(metrics, "emag_api_refused", account="main", reason=reason) for reason in reasons])
    assert said == [[0, 0], [1, 0], [1, 0], [0, 1], [0, 0]]


def test_checks_are_looked_up_when_they_are_read(metrics: Metrics) -> None:
    """What is well is asked for at each scrape, so that no answer is older than it."""
    well = [True]
    metrics.checked_by(lambda: [(("livez", "watchdog"), well[-1])])
    assert value(metrics, "emag_syncd_check_ok", probe="livez", check="watchdog") == 1
    well.append(False)
    assert value(metrics, "emag_syncd_check_ok", probe="livez", check="watchdog") == 0


def test_two_sets_of_metrics_are_independent() -> None:
    """Nothing is shared in the process: a demo, a test and a daemon can each have their own."""
    one, other = Metrics(["main"], "1"), Metrics(["main"], "1")
    one.timeout("main")
    assert value(other, "emag_sync_timeouts_total", account="main") == 0


def test_names_and_help_follow_the_conventions(metrics: Metrics) -> None:
    """Every metric of ours has a help text, one sentence that ends with a full stop."""
    text = metrics.render()[0].decode()
    helps = dict(re.findall(r"^# HELP (emag_\w+) (.+)$", text, re.MULTILINE))
    assert set(helps) == set(re.findall(r"^# TYPE (emag_\w+) ", text, re.MULTILINE))
    assert all(text.endswith(".") for text in helps.values())


def test_promtool_has_nothing_to_say(metrics: Metrics) -> None:
    """Prometheus' own linter finds no fault with what a scrape returns."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed")
    metrics.run_finished("main", Operation.FULL, Status.COMPLETED, 1)
    checked = subprocess.run(
        [promtool, "check", "metrics"], input=metrics.render()[0], capture_output=True, check=False
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, b"")
