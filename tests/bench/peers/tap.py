"""A small Singer tap: every offer of the account, and a state at the end."""

import json
import sys

from offers import STREAM, pages, schema


def say(message: dict[str, object]) -> None:
    """Write a message, a line."""
    sys.stdout.write(json.dumps(message) + "\n")


say({"type": "SCHEMA", "stream": STREAM, "schema": schema(), "key_properties": ["id"]})
for page in pages():
    for offer in page:
        say({"type": "RECORD", "stream": STREAM, "record": offer})
say({"type": "STATE", "value": {"done": True}})
