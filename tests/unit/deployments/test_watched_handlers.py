"""Which handlers get a process of their own: those that were there at each of the last deaths, for a while."""

from __future__ import annotations

from rewake.deployments.watched_handlers import DEATHS_TO_WATCH, WATCHED_FOR_S, WATCHED_MAX, WatchedHandlers


def deaths(watched: WatchedHandlers, *series: list[str], every_s: float = 1.0) -> list[list[str]]:
    return [watched.on_death(in_flight, number * every_s) for number, in_flight in enumerate(series)]


def test_one_that_was_there_each_time_is_watched() -> None:
    watched = WatchedHandlers()
    assert not watched
    assert deaths(watched, ["a", "killer"], ["b", "killer"], ["a", "c", "killer"]) == [[], [], ["killer"]]
    assert watched and watched.is_watched("killer", 2) and not watched.is_watched("a", 2)


def test_of_several_the_rarest_are_watched() -> None:
    watched = WatchedHandlers()
    in_flight = ["often"] * 5 + ["seldom"] * 2 + ["killer"]
    assert deaths(watched, *[in_flight] * DEATHS_TO_WATCH)[-1] == ["killer", "seldom"][:WATCHED_MAX]
    assert deaths(watched, *[in_flight] * DEATHS_TO_WATCH)[-1] == ["often"], "when they go on, the others follow"


def test_deaths_far_apart_and_different_ones_are_no_series() -> None:
    watched = WatchedHandlers()
    assert deaths(watched, ["a"], ["a"], ["a"], every_s=WATCHED_FOR_S)[-1] == []
    assert deaths(watched, ["a"], ["b"], ["a"])[-1] == []


def test_it_ends_a_while_after_the_last_death() -> None:
    watched = WatchedHandlers()
    deaths(watched, ["a"], ["a"], ["a"])
    watched.on_death(["a"], 50.0)
    assert watched.is_watched("a", 50.0 + WATCHED_FOR_S)
    assert not watched.is_watched("a", 51.0 + WATCHED_FOR_S)
    assert not watched
