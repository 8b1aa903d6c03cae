"""The benchmark: the daemon's own sync against bare loops, on one machine and in one run. ``make bench`` runs it."""
