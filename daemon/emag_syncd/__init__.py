"""emag-syncd keeps, in PostgreSQL, a true copy of what a seller has on the eMAG marketplace."""

from importlib.metadata import version

__version__ = version("emag-syncd")
