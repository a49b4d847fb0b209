"""Frames that no correct node sends, by seeds; tools/fuzz_frames.py goes on for as long as it is let."""

from __future__ import annotations

import pytest
from tests.scheduler.lab import open_lab
from tests.scheduler.pump import A

from .hostile_peer import BATCH, send_hostile_frames

BATCHES = 25


@pytest.mark.parametrize("seed", range(4))
async def test_no_frame_breaks_the_core(seed: int) -> None:
    async with open_lab(A, held=()) as lab:
        tally = await send_hostile_frames(lab, seed, BATCHES)
        assert tally.accepted + tally.refused == BATCHES * BATCH
        assert min(tally.accepted, tally.refused) > BATCH
        # Whatever arrived: the runtime is well.
        await lab.passes("""
            (func (export "_start") (drop (call $spawn @"child")) (is64 (call $receive) 5:i64))
            (func (export "child") (call $send (call $parent) 0:i64 5:i64))
            (func $parent (result i64) (i64.sub (process.process_id) 1:i64))""")
