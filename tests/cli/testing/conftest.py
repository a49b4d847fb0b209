"""Tests of the test runner count what is left after a runtime, as those of the scheduler do."""

from tests.scheduler.conftest import _what_stays

__all__ = ["_what_stays"]
