"""The mutants of SQL that no test notices, and why that is no gap."""

ACCEPTED = {
    "ledger.free_slots_to_come: only account_type = :account AND sync_type = :sync_type": (
        "without the condition that a slot is there: NULL is then set to NULL, and nobody can see that"
    ),
}
