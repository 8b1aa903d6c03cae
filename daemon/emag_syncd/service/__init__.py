"""The one place where the parts are built, started in order, and stopped in reverse."""
