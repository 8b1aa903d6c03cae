"""Scenarios of scale: many accounts, many daemons, many offers."""
