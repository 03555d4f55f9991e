"""Who gets a place to run."""

from __future__ import annotations

from rewake.engine.places import RESERVED_SHARE, Places


def test_one_service_leaves_places_for_the_others() -> None:
    places = Places(2 * RESERVED_SHARE, lambda: 2)
    for _ in range(2 * RESERVED_SHARE - 2):
        assert places.has_one_for("Batch")
        places.take("Batch")
    assert not places.has_one_for("Batch")
    for _ in range(2):
        assert places.has_one_for("Desk") and not places.is_full
        places.take("Desk")
    assert places.is_full and not places.has_one_for("Desk")
    places.give_back("Desk")
    assert places.has_one_for("Desk") and not places.has_one_for("Batch")
    places.give_back("Batch")
    assert places.has_one_for("Batch")
    places.clear()
    assert places.has_one_for("Batch") and not places.is_full


def test_a_service_alone_or_few_places_have_no_reserve() -> None:
    for places, count in (
        (Places(2 * RESERVED_SHARE, lambda: 1), 2 * RESERVED_SHARE),
        (Places(RESERVED_SHARE - 1, lambda: 2), RESERVED_SHARE - 1),
    ):
        for _ in range(count):
            assert places.has_one_for("Batch")
            places.take("Batch")
        assert places.is_full
