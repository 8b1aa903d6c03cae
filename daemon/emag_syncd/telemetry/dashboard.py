"""The Grafana dashboard, as what Grafana imports: a row a question, an account chosen at the top."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

COLUMNS = 24
HEIGHT = 8
OF_ACCOUNT: Final = 'job=~"$job", account=~"$account"'
OF_JOB: Final = 'job=~"$job"'

_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
_SETTING = "emag_syncd_config_seconds"


@dataclass(frozen=True)
class Panel:
    """One picture. ``shown`` maps each series' legend to its expression; ``unit`` is one of Grafana's."""

    title: str
    shown: Mapping[str, str]
    unit: str = "short"
    kind: str = "timeseries"
    width: int = 8
    stacked: bool = False
    about: str = ""
    red_from: float | None = None
    words: Mapping[str, str] = field(default_factory=dict)


def _increase(metric: str, by: str, more: str = "", *, of: str = OF_ACCOUNT) -> str:
    return f"sum by ({by}) (increase({metric}{{{of}{more}}}[$__rate_interval]))"


def _quantile(share: float, metric: str, window: str) -> str:
    rates = f"sum by (le, account) (rate({metric}_bucket{{{OF_ACCOUNT}}}[{window}]))"
    return f"histogram_quantile({share}, {rates})"


ROWS: Mapping[str, tuple[Panel, ...]] = {
    "Is it right, and as of when": (
        Panel(
            "Age of the copy",
            {
                "{{account}} {{operation}}": "time() - max by (account, operation)"
                f' (emag_sync_last_success_timestamp_seconds{{{OF_ACCOUNT}, operation!="selective_sync"}})'
            },
            unit="s",
            about="Since the last run that completed. A full run does for an incremental one too.",
        ),
        Panel(
            "How the last run ended",
            {
                "{{account}} {{operation}} {{status}}": "max by (account, operation, status)"
                f' (emag_sync_last_run_status{{{OF_ACCOUNT}, operation!="selective_sync"}}) == 1'
            },
            kind="stat",
            words={"1": "yes"},
        ),
        Panel(
            "Next run in",
            {
                "{{account}} {{operation}}": "min by (account, operation)"
                f" (emag_scheduler_next_run_timestamp_seconds{{{OF_ACCOUNT}}}) - time()"
            },
            unit="s",
            kind="stat",
        ),
        Panel(
            "Products",
            {"{{account}} {{state}}": f"max by (account, state) (emag_products{{{OF_ACCOUNT}}})"},
            width=12,
        ),
        Panel(
            "What runs do to products",
            {"{{action}}": _increase("emag_sync_products_total", "action", ', action!="unchanged"')},
            width=12,
            stacked=True,
            about="Unchanged ones are left out: they hide the others.",
        ),
    ),
    "Runs": (
        Panel("Runs by end", {"{{status}}": _increase("emag_sync_runs_total", "status")}, stacked=True),
        Panel("Errors by kind", {"{{kind}}": _increase("emag_sync_errors_total", "kind")}, stacked=True),
        Panel(
            "Under way since",
            {
                "{{account}}": "time() - max by (account)"
                f" (emag_sync_running_since_timestamp_seconds{{{OF_ACCOUNT}}} > 0)",
                "limit of {{account}}": f"max by (account) (emag_sync_timeout_seconds{{{OF_ACCOUNT}}})",
            },
            unit="s",
        ),
        Panel(
            "How long runs take",
            {
                "half of {{account}}": _quantile(0.5, "emag_sync_duration_seconds", "1d"),
                "95 % of {{account}}": _quantile(0.95, "emag_sync_duration_seconds", "1d"),
            },
            unit="s",
            about="Within a day. The dots are runs, by their id.",
        ),
        Panel(
            "Ended by others",
            {
                "reaped: {{kind}}": _increase("emag_watchdog_reaped_total", "kind"),
                "timed out": f"sum(increase(emag_sync_timeouts_total{{{OF_ACCOUNT}}}[$__rate_interval]))",
                "abandoned": f"sum(increase(emag_sync_abandoned_total{{{OF_ACCOUNT}}}[$__rate_interval]))",
            },
        ),
        Panel(
            "Rows running without a process",
            {"rows": f"max(emag_sync_stale_runs{{{OF_JOB}}})"},
            kind="stat",
            red_from=1,
            about="0 while all is well.",
        ),
    ),
    "Marketplace": (
        Panel(
            "Calls by outcome",
            {"{{outcome}}": f"sum by (outcome) (rate(emag_api_requests_total{{{OF_ACCOUNT}}}[$__rate_interval]))"},
            unit="reqps",
            stacked=True,
        ),
        Panel(
            "How long it takes to answer",
            {
                "half of {{account}}": _quantile(0.5, "emag_api_request_duration_seconds", "$__rate_interval"),
                "95 % of {{account}}": _quantile(0.95, "emag_api_request_duration_seconds", "$__rate_interval"),
            },
            unit="s",
            about="Without our own waiting.",
        ),
        Panel(
            "Held back to keep the limits",
            {
                "{{account}}": "sum by (account)"
                f" (rate(emag_api_rate_limit_wait_seconds_total{{{OF_ACCOUNT}}}[$__rate_interval]))"
            },
            unit="s",
            about="Seconds of waiting in each second, over all requests.",
        ),
        Panel("Answers of 429", {"{{account}}": _increase("emag_api_rate_limit_hits_total", "account")}, width=12),
        Panel(
            "Refused by the marketplace",
            {"{{account}}: {{reason}}": f"max by (account, reason) (emag_api_refused{{{OF_ACCOUNT}}})"},
            kind="stat",
            width=12,
            red_from=1,
            words={"0": "no", "1": "refused"},
        ),
    ),
    "Database and loops": (
        Panel(
            "Connections of the pool",
            {"{{state}}": f"sum by (state) (emag_db_pool_connections{{{OF_JOB}}})"},
            stacked=True,
        ),
        Panel("Delay of the event loop", {"{{instance}}": f"emag_event_loop_lag_seconds{{{OF_JOB}}}"}, unit="s"),
        Panel(
            "Since the watchdog looked",
            {
                "{{instance}}": f"time() - emag_watchdog_last_run_timestamp_seconds{{{OF_JOB}}}",
                "interval": f'max({_SETTING}{{{OF_JOB}, setting="watchdog.interval_seconds"}})',
            },
            unit="s",
        ),
        Panel(
            "Checks that fail",
            {"{{instance}} {{probe}} {{check}}": f"emag_syncd_check_ok{{{OF_JOB}}} == 0 or on () vector(1)"},
            kind="stat",
            words={"0": "fails", "1": "none"},
        ),
        Panel(
            "Slots of the schedule",
            {"{{outcome}}": _increase("emag_scheduler_runs_total", "outcome", of=OF_JOB)},
            stacked=True,
        ),
        Panel(
            "Memory",
            {"{{instance}}": f"process_resident_memory_bytes{{{OF_JOB}}} and on (job, instance) emag_syncd_build_info"},
            unit="bytes",
        ),
    ),
    "Webhooks": (
        Panel(
            "Deliveries",
            {"{{outcome}}": _increase("emag_webhook_deliveries_total", "outcome", of=OF_JOB)},
            stacked=True,
        ),
        Panel("Backlog", {"{{state}}": f"max by (state) (emag_webhook_backlog{{{OF_JOB}}})"}),
        Panel("The oldest waits for", {"oldest": f"max(emag_webhook_oldest_pending_seconds{{{OF_JOB}}})"}, unit="s"),
    ),
}


def dashboard() -> dict[str, Any]:
    """Return the dashboard as Grafana's import takes it."""
    return {
        "title": "emag-syncd",
        "uid": "emag-syncd",
        "tags": ["emag-syncd"],
        "schemaVersion": 37,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-24h", "to": "now"},
        "templating": {
            "list": [
                {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Data source"},
                _variable("job", "label_values(emag_syncd_build_info, job)", "Job"),
                _variable("account", 'label_values(emag_sync_in_progress{job=~"$job"}, account)', "Account"),
            ]
        },
        "panels": list(_panels()),
    }


def _variable(name: str, query: str, label: str) -> dict[str, Any]:
    return {
        "name": name,
        "type": "query",
        "label": label,
        "datasource": _SOURCE,
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
    }


def _panels() -> Iterator[dict[str, Any]]:
    """Yield rows and panels from the left to the right and from top to bottom."""
    number = top = 0
    for row, panels in ROWS.items():
        number += 1
        yield {"id": number, "type": "row", "title": row, "collapsed": False, "gridPos": _place(0, top, COLUMNS, 1)}
        top, left = top + 1, 0
        for panel in panels:
            number += 1
            yield {**_panel(panel), "id": number, "gridPos": _place(left, top, panel.width, HEIGHT)}
            left += panel.width
            if left >= COLUMNS:
                top, left = top + HEIGHT, 0


def _place(left: int, top: int, width: int, height: int) -> dict[str, int]:
    return {"x": left, "y": top, "w": width, "h": height}


def _panel(panel: Panel) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    if panel.red_from is not None:
        steps.append({"color": "red", "value": panel.red_from})
    drawn = {"fillOpacity": 10, "stacking": {"mode": "normal" if panel.stacked else "none"}}
    words = {value: {"text": text} for value, text in panel.words.items()}
    defaults = {
        "unit": panel.unit,
        "thresholds": {"mode": "absolute", "steps": steps},
        "mappings": [{"type": "value", "options": words}] if words else [],
        "custom": drawn if panel.kind == "timeseries" else {},
    }
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.about,
        "datasource": _SOURCE,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "targets": [
            {
                "refId": chr(ord("A") + number),
                "datasource": _SOURCE,
                "expr": expression,
                "legendFormat": legend,
                "exemplar": "_bucket{" in expression,
            }
            for number, (legend, expression) in enumerate(panel.shown.items())
        ],
    }
