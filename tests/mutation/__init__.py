"""Mutation testing of what the promises rest on: ``make mutate``."""
