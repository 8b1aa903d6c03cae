"""Plain types and rules. No I/O, no clock."""
