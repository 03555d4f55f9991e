"""Sealed values: their form, keys and rotation, and subjects that are forgotten."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path

import pytest
from restate import TerminalError

from rewake import disclosure
from rewake.ext.sealed import (
    Damaged,
    Forgotten,
    Keyring,
    KeysInvalid,
    KeyUnknown,
    Sealer,
    SubjectKeys,
    Undecodable,
    Values,
    is_sealed,
    new_key,
    sealing,
    subject_of_key,
)
from rewake.ext.sealed.form import MAGIC

OLD, NEW = "old:" + base64.b64encode(b"o" * 32).decode(), "new:" + base64.b64encode(b"n" * 32).decode()


def ring(*lines: str) -> Keyring:
    return Keyring.from_text("\n".join(lines))


# Form


def test_a_value_is_opened_with_its_key_and_no_other() -> None:
    values = Values(ring(OLD))
    sealed = values.seal(b'"ada"')
    assert is_sealed(sealed)
    assert b"ada" not in sealed
    assert values.seal(b'"ada"') != sealed
    assert values.open(sealed) == b'"ada"'
    assert (values.seal(sealed), values.seal(b""), values.open(b"plain")) == (sealed, b"", b"plain")
    with pytest.raises(KeyUnknown, match="'old'"):
        Values(ring(NEW)).open(sealed)
    with pytest.raises(Damaged):
        Values(ring("old:" + NEW.partition(":")[2])).open(sealed)


def test_no_changed_or_cut_value_is_opened() -> None:
    values = Values(ring(OLD))
    sealed = values.seal(b"some content")
    for at in range(len(MAGIC), len(sealed)):
        changed = sealed[:at] + bytes((sealed[at] ^ 1,)) + sealed[at + 1 :]
        for broken in (changed, sealed[:at]):
            with pytest.raises((Damaged, KeyUnknown)):
                values.open(broken)


def test_the_form_is_for_ever() -> None:
    """A value as it was written first; the engine knows its beginning, too."""
    assert MAGIC == disclosure.SEALED
    stored = "0052575301036f6c6400000102030405060708090a0b3ae46259fc160c098e510eab7d9728db851e0dd321"
    assert Values(ring(OLD)).open(bytes.fromhex(stored)) == b'"ada"'


# Keys


def test_after_a_rotation_old_values_are_read_and_new_ones_sealed_anew() -> None:
    before, after = Values(ring(OLD)), Values(ring(NEW, OLD))
    assert after.open(before.seal(b"x")) == b"x"
    with pytest.raises(KeyUnknown, match="'new'"):
        before.open(after.seal(b"x"))


def test_keys_come_from_a_file_the_environment_or_a_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "keys"
    file.write_text(f"# ours\n{OLD}  # until May\n")
    file.chmod(0o600)
    monkeypatch.setenv("KEYS", f"{NEW} {OLD}")
    assert list(Keyring.from_source(str(file)).keys) == ["old"]
    assert list(Keyring.from_source("env:KEYS").keys) == ["new", "old"]
    assert list(Keyring.from_source(f"command:cat {file}").keys) == ["old"]
    assert Keyring.from_text(new_key()).current.startswith("k")
    file.chmod(0o666)
    for source in (str(file), str(tmp_path / "none"), "env:NONE", "command:false", "command:/no/such", "command:'", ""):
        with pytest.raises(KeysInvalid):
            Keyring.from_source(source)


@pytest.mark.parametrize("text", ["", "old", "old:", "old:abc", f"{OLD}\n{OLD}", OLD + "AA", "sp ace:" + "A" * 44])
def test_what_is_no_key_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(KeysInvalid) as caught:
        Keyring.from_text(text)
    assert OLD.partition(":")[2] not in str(caught.value)


# Subjects


def test_a_subject_is_forgotten_by_its_key(tmp_path: Path) -> None:
    values = Values(ring(OLD), SubjectKeys(tmp_path / "subjects"))
    ada, bob, other = values.seal(b"a", "Chat/ada"), values.seal(b"b", "Chat/bob"), values.seal(b"c")
    assert [values.open(each) for each in (ada, bob, other)] == [b"a", b"b", b"c"]
    made = [tmp_path / "subjects", *(tmp_path / "subjects").rglob("*")]
    assert not [path for path in made if path.stat().st_mode & 0o077]
    elsewhere = SubjectKeys(tmp_path / "subjects")
    assert Values(ring(NEW, OLD), elsewhere).open(ada) == b"a"
    assert elsewhere.forget("Chat/ada")
    assert not elsewhere.forget("Chat/ada")
    fresh = Values(ring(OLD), SubjectKeys(tmp_path / "subjects"))
    with pytest.raises(Forgotten):
        fresh.open(ada)
    again = fresh.seal(b"a", "Chat/ada")
    assert (fresh.open(again), fresh.open(bob)) == (b"a", b"b")
    with pytest.raises(Forgotten):
        fresh.open(ada)
    with pytest.raises(KeyUnknown):
        Values(ring(OLD)).open(bob)
    with pytest.raises(KeyUnknown):
        Values(ring(NEW), SubjectKeys(tmp_path / "subjects")).open(bob)


def test_what_is_remembered_of_subjects_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rewake.ext.sealed.subjects.REMEMBERED_MAX", 3)
    subjects = SubjectKeys(tmp_path)
    values = Values(ring(OLD), subjects)
    sealed = [values.seal(b"x", f"s{number}") for number in range(8)]
    assert len(subjects._known) <= 3
    assert {values.open(each) for each in sealed} == {b"x"}


def test_subjects_of_keys() -> None:
    assert subject_of_key("Chat", "ada") == "Chat/ada"
    assert subject_of_key("Chat", None) is subject_of_key("Chat", "") is None
    sealer = Sealer(Values(ring(OLD)))
    assert sealer.open(sealer.seal(b"x", "Chat", "ada")) == b"x"
    assert sealer.open(Values(ring(NEW)).seal(b"x")) is None


# The seam


def test_the_codec(tmp_path: Path) -> None:
    asyncio.run(_codec(tmp_path))


async def _codec(tmp_path: Path) -> None:
    codec = sealing(ring(OLD), subjects=tmp_path)
    assert await codec.decode(codec.encode(b"x")) == b"x"
    assert await codec.decode(b"plain") == b"plain"
    strict = sealing(ring(OLD), accepts_plain=False)
    with pytest.raises(TerminalError, match="takes no others"):
        await strict.decode(b"plain")
    with pytest.raises(Undecodable, match="'new'"):
        await codec.decode(sealing(ring(NEW)).encode(b"x"))
    subjects = SubjectKeys(tmp_path)
    sealed = Values(ring(OLD), subjects).seal(b"x", "Chat/ada")
    subjects.forget("Chat/ada")
    with pytest.raises(TerminalError) as caught:
        await codec.decode(sealed)
    assert caught.value.status_code == 410
