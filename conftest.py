"""What every test needs, wherever it lies."""

from __future__ import annotations

import signal


def pytest_configure() -> None:
    """Have programs under test be interruptible.

    A shell starts what it runs in the background with SIGINT ignored, children
    inherit that, and then Ctrl-C does nothing to them.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
