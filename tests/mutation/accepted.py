"""The mutants that no test notices, and why that is no gap."""

_NO_TOKEN = "without the status: a run that is not running has no token, the table's trigger sees to that"

SQL = {
    "ledger.beat: only l.lease_token = mine.token": _NO_TOKEN,
    "ledger.finish: only id = :run_id AND lease_token = :token": _NO_TOKEN,
    "mirror.commits_of: only id = :run_id AND lease_token = :token": _NO_TOKEN,
    "mirror.commits_of: only lease_token = :token": "without the id: no two runs have the same token",
    "ledger.older_than: only started_at < CLOCK_TIMESTAMP() - MAKE_INTERVAL(secs => :seconds)": (
        "without the status: what is ended with these ids is ended only where it runs"
    ),
    "ledger.free_slots_to_come: only account_type = :account AND sync_type = :sync_type": (
        "without the condition that a slot is there: NULL is then set to NULL, and nobody can see that"
    ),
}

PYTHON: dict[str, str] = {}
"""As their reports call them: the function, the line that changed, and what it became."""
