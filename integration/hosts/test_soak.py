"""One minute of the soak, with faults of every kind: every message is accounted for, and nothing leaks."""

from __future__ import annotations

import pytest

from ..soak.report import write_report
from ..soak.run import soak

SEED = 4711
MINUTES = 1.0


@pytest.mark.timeout(900)
def test_a_minute_under_faults_breaks_no_promise(kind: str) -> None:
    outcome = soak(MINUTES, SEED, kind)
    write_report(outcome)
    assert [f"{finding.promise}: {finding.text}" for finding in outcome.findings] == []
