"""Whose a process is, and that no test loses what may be another's."""

from __future__ import annotations

from luna.cli.testing.families import Families


def running(*tests: int) -> Families:
    families = Families()
    for test in tests:
        families.begin()
        families.add(test)
    return families


def test_descendants_belong_to_their_test() -> None:
    families = running(1, 2)
    processes = [(2, 0), (3, 1), (4, 2), (5, 3), (6, 5)]
    assert families.left_behind(1, processes) == [3, 5, 6]
    assert families.left_behind(2, processes) == [2, 4]


def test_what_was_seen_is_remembered_when_its_parent_is_gone() -> None:
    families = running(1, 2)
    assert families.left_behind(2, [(2, 0), (3, 1)]) == [2]
    assert families.left_behind(1, [(5, 3), (6, 4)]) == [5]


def test_what_nobody_saw_the_parent_of_is_left_alone_while_others_run() -> None:
    families = running(1, 2)
    assert families.left_behind(1, [(2, 0), (5, 4)]) == []
    families.remove(1)
    assert families.left_behind(2, [(5, 4)]) == [5]


def test_what_may_be_of_a_test_that_is_just_being_started_is_left_alone() -> None:
    families = running(1)
    families.begin()
    assert families.left_behind(1, [(2, 0), (3, 2), (4, 1)]) == [4]
    families.add(2)
    assert families.left_behind(1, [(2, 0), (3, 2), (4, 1)]) == [4]
    assert families.left_behind(2, [(3, 2), (4, 1)]) == [3]


def test_of_a_test_that_is_over_nothing_is_kept() -> None:
    families = running(1)
    families.left_behind(1, [(2, 1)])
    families.remove(1)
    families.begin()
    families.add(7)
    assert families.left_behind(7, [(8, 7)]) == [8]
    assert set(families._test_of) == {7, 8}
