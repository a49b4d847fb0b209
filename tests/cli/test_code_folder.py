"""Where compiled code is kept, and when it is not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from luna.cli.code_folder import code_folder

UID = os.getuid()


def test_folder_is_made_for_this_user_alone(tmp_path: Path) -> None:
    folder = code_folder({"XDG_CACHE_HOME": str(tmp_path / "c"), "HOME": "/nowhere"}, UID)
    assert folder == tmp_path / "c" / "luna" / "code"
    assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("base", [{}, {"XDG_CACHE_HOME": ""}, {"XDG_CACHE_HOME": "relative"}])
def test_without_a_cache_directory_it_is_below_home(tmp_path: Path, base: dict[str, str]) -> None:
    expected = tmp_path / ".cache" / "luna" / "code"
    assert code_folder({**base, "HOME": str(tmp_path)}, UID) == expected


def test_without_a_place_to_write_nothing_is_kept(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert code_folder({}, UID) is None
    assert code_folder({"HOME": "relative"}, UID) is None
    assert code_folder({"HOME": str(tmp_path / "file")}, UID) is None


def test_code_that_others_could_have_written_is_not_used(tmp_path: Path) -> None:
    environment = {"XDG_CACHE_HOME": str(tmp_path)}
    assert code_folder(environment, UID + 1) is None
    folder = code_folder(environment, UID)
    assert folder is not None
    for mode in (0o770, 0o707):
        folder.chmod(mode)
        assert code_folder(environment, UID) is None
