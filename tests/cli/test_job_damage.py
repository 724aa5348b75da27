"""Damaged files of every format: an answer, or one line, the status 2 and nothing left behind."""

import sys

import pytest

pytest.importorskip("click", reason="the extra 'cli' is not installed")
pytest.importorskip("rich", reason="the extra 'cli' is not installed")

from .job_damage import FORMATS, formats_here, make_files, try_damaged


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
@pytest.mark.parametrize("name", FORMATS)
def test_damaged_files(tmp_path, monkeypatch, capfd, name):
    if name not in formats_here():
        pytest.skip("needs the extra 'cli'")
    monkeypatch.chdir(tmp_path)
    make_files()
    found = [try_damaged(name, seed) for seed in range(20)]
    assert sum(line != "answered" for line in found) >= 5
    assert capfd.readouterr() == ("", "")  # libraries below Python print past it
