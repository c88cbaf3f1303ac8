"""Output files appear whole or not at all."""

import errno
import os
import stat

import pytest

from pylatent._files import atomic_writer, write_bytes


def test_a_file_appears_when_complete(tmp_path):
    path = tmp_path / "a"
    with atomic_writer(path) as file:
        file.write(b"1")
        assert not path.exists()
    assert path.read_bytes() == b"1"
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt, SystemExit])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "a"
    path.write_bytes(b"old")

    def fail():
        with atomic_writer(path) as file:
            file.write(b"new")
            raise error

    with pytest.raises(error):
        fail()
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a"]


def test_permissions_and_links_are_kept(tmp_path):
    path, link = tmp_path / "a", tmp_path / "link"
    path.write_bytes(b"old")
    path.chmod(0o640)
    link.symlink_to(path)
    write_bytes(link, b"new")
    assert path.read_bytes() == b"new"
    assert link.is_symlink()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_devices_are_written_directly():
    write_bytes(os.devnull, b"x")
    assert not stat.S_ISREG(os.stat(os.devnull).st_mode)


def test_errors_name_the_file_that_was_asked_for(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError) as caught:
        write_bytes(tmp_path / "none" / "a", b"x")
    assert caught.value.filename == str(tmp_path / "none" / "a")

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left on device: '.*a'"):
        write_bytes(tmp_path / "a", b"x")
    assert os.listdir(tmp_path) == []
