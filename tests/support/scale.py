"""How much of what can be repeated at will is repeated: little in every run of the suite, much when asked for."""

import os

SETTING = "EMAG_SYNCD_TEST_SCALE"


def scaled(count: int) -> int:
    """Return ``count`` times the factor of the environment's ``EMAG_SYNCD_TEST_SCALE`` (1), at least 1."""
    return max(1, round(count * float(os.environ.get(SETTING, "1"))))
