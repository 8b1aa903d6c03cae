"""Other tools on the same work: the same simulated marketplace, the same PostgreSQL. ``make bench-peers`` runs them."""
