"""Signed links: made by engine and handlers alike, read by the engine alone, and private."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from itsdangerous import URLSafeSerializer

from rewake.core.ids import awakeable_id_format
from rewake.engine.approval_links import FILE, SALT, ApprovalLinks, Link
from rewake.errors import RewakeError
from rewake.ext.kernel.keeping import question_id
from rewake.ext.kernel.links import LinkMaker

RUN, OTHER = b"r" * 24, b"o" * 24
ID = awakeable_id_format(RUN, 17)
LINK = Link(ID, "d" * 64, "Ada", 1_000)
BASE = "https://approve.example/approve/"


def links(folder: Path) -> ApprovalLinks:
    return ApprovalLinks(folder, lambda: "https://approve.example/")


def token(url: str) -> str:
    assert url.startswith(BASE)
    return url.removeprefix(BASE)


def test_a_link_is_read_again_also_after_a_restart(tmp_path: Path) -> None:
    made = token(links(tmp_path).link(LINK))
    assert links(tmp_path).read(made, now_ms=999) == LINK
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600
    with pytest.raises(RewakeError, match="RW4033"):
        links(tmp_path).read(made, now_ms=1_000)


def test_a_handler_makes_the_same_links_with_the_key_of_its_run(tmp_path: Path) -> None:
    name, value = links(tmp_path).header(RUN)
    base, _, key = value.partition(" ")
    assert (name, base) == ("x-rewake-approvals", BASE)
    assert LinkMaker(base, key).link(ID, LINK.digest, "Ada", 1_000) == links(tmp_path).link(LINK)


def test_an_object_that_keeps_questions_has_a_key_of_its_own(tmp_path: Path) -> None:
    """Its handlers, of any run, make links to its questions and to no other object's."""
    id_ = question_id("Desk", "ada", "1")
    link = Link(id_, "d" * 64, "Ada", 1_000)
    made = links(tmp_path).link(link)
    assert links(tmp_path).read(token(made), now_ms=0) == link
    for run in (RUN, OTHER):
        base, _, key = links(tmp_path).header(run, ("Desk", "ada"))[1].split(" ")
        assert LinkMaker(base, key).link(id_, link.digest, "Ada", 1_000) == made
    _, own, key = links(tmp_path).header(RUN, ("Desk", "bob"))[1].split(" ")
    for other in (own, key):
        with pytest.raises(RewakeError, match="RW4032"):
            links(tmp_path).read(token(LinkMaker(BASE, other).link(id_, "d", "Ada", 9_999)), now_ms=0)


def test_what_this_engine_did_not_make_is_unknown(tmp_path: Path) -> None:
    ours, made = links(tmp_path), token(links(tmp_path).link(LINK))
    (tmp_path / "other").mkdir()
    _, value = ours.header(OTHER)
    key_of_another_run = LinkMaker(*value.split(" ")).link(ID, "d", "Ada", 9_999)
    unsigned = URLSafeSerializer("", SALT).dumps({"id": ID, "digest": "d", "who": "", "until": 9_999})
    strange = URLSafeSerializer(value.split(" ")[1], SALT).dumps({"id": awakeable_id_format(OTHER, 17)})
    cases = [made[:-1], made[1:], made.upper(), token(links(tmp_path / "other").link(LINK)), unsigned, strange]
    for case in [*cases, token(key_of_another_run), "", ".", "x.y", "W10.x"]:
        with pytest.raises(RewakeError, match="RW4032"):
            ours.read(case, now_ms=0)


def test_a_broken_secret_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"short")
    made = token(links(tmp_path).link(LINK))
    assert links(tmp_path).read(made, now_ms=0) == LINK
