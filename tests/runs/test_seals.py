"""Sealed archives: every kind of damage is found."""

import json
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amr_tf.runs.seals import Damaged, read_note, seal

NOTE = {"step": 12, "best": 0.5}
MEMBERS = {"config.json": b"{}" * 40, "weights": bytes(range(256)) * 3}


def make(path, note=NOTE):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in MEMBERS.items():
            archive.writestr(name, content)
    if note is not None:
        seal(path, note)
    return path.read_bytes()


@pytest.fixture(scope="module")
def sealed(tmp_path_factory):
    path = tmp_path_factory.mktemp("seals") / "sealed.keras"
    return path, make(path)


def contents(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_the_note_comes_back_and_the_archive_stays_one(sealed):
    path, _ = sealed
    assert read_note(path) == NOTE
    assert contents(path) == MEMBERS


def test_a_file_is_sealed_again(tmp_path):
    path = tmp_path / "file.keras"
    make(path)
    seal(path, {"step": 13})
    assert read_note(path) == {"step": 13}
    assert contents(path) == MEMBERS


def test_an_archive_without_a_seal(tmp_path):
    path = tmp_path / "old.keras"
    content = make(path, note=None)
    assert read_note(path) is None
    place = content.index(MEMBERS["weights"]) + 5
    path.write_bytes(content[:place] + b"\xff" + content[place + 1 :])
    with pytest.raises(Damaged, match="the checksum of its part 'weights' is wrong"):
        read_note(path)


@settings(deadline=None, max_examples=150)
@given(data=st.data())
def test_a_flipped_bit_is_found(sealed, data):
    path, content = sealed
    place = data.draw(st.integers(0, len(content) - 1))
    changed = bytearray(content)
    changed[place] ^= 1 << data.draw(st.integers(0, 7))
    damaged = path.with_name("flipped.keras")
    damaged.write_bytes(changed)
    with pytest.raises(Damaged):
        read_note(damaged)


@settings(deadline=None, max_examples=150)
@given(data=st.data())
def test_a_file_that_is_cut_off_is_found(sealed, data):
    """At one place only it is not: before the seal, where the archive is whole without it."""
    path, content = sealed
    whole = content.index(json.dumps(NOTE).encode())
    length = data.draw(st.integers(0, len(content) - 1).filter(lambda length: length != whole))
    damaged = path.with_name("cut.keras")
    damaged.write_bytes(content[:length])
    with pytest.raises(Damaged):
        read_note(damaged)


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_note(tmp_path / "nowhere.keras")


def test_a_seal_alone(tmp_path, sealed):
    path = tmp_path / "file.keras"
    path.write_bytes(sealed[1][-72:])
    with pytest.raises(Damaged):
        read_note(path)


def test_the_note_is_readable_with_any_zip_tool(sealed):
    with zipfile.ZipFile(sealed[0]) as archive:
        text = archive.comment.decode()
    note, digest = text.split("\nsha256:")
    assert json.loads(note) == NOTE
    assert len(digest) == 64
