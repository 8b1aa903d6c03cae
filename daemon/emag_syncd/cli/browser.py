"""Opens the console for whoever sits in front of it."""

import os
import sys
import threading
import webbrowser
from contextlib import suppress

_WITH_WINDOWS = {"darwin", "win32"}
_DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY")


def is_watched() -> bool:
    """Tell whether somebody is at a terminal with windows: without them a browser would take the terminal itself."""
    has_windows = sys.platform in _WITH_WINDOWS or any(os.environ.get(name) for name in _DISPLAYS)
    return sys.stdout.isatty() and has_windows


def open_console(address: str) -> None:
    """Open ``address`` in the browser of the desktop, or the one that ``BROWSER`` names, and wait for nothing."""
    # Some browsers keep who starts them until they end, which must keep nobody from leaving.
    threading.Thread(target=_open, args=(address,), name="browser", daemon=True).start()


def _open(address: str) -> None:
    # The address has been printed: whoever has no browser that works goes there by hand.
    with suppress(webbrowser.Error, OSError, ValueError):
        webbrowser.open(address)
