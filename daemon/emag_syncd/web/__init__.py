"""Health, metrics and the API over HTTP."""
