"""Real processes killed at any point while steps speak, and readers that go on anywhere: each ends up with the journal.

The same over many more histories, without processes, is in tests/unit/streams/test_any_kill.py. Here a seed draws how
far the step gets, whether worker or engine dies then, and from which event readers go on. A few seeds; with
REWAKE_ALL_CRASHES=1 many.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from cli_process import Running
from rows import ALL
from speaking_app import ANSWER
from stream_reader import Reader

HERE = Path(__file__).parent
TEXT = "".join(ANSWER)
SEEDS = range(20 if ALL else 2)
LIMITS = ("words", "more")
"""What each of the two steps may say, see speaking_app.py."""

pytestmark = pytest.mark.timeout(180)


class Follower(Reader):
    """Keeps to the four rules of docs/reference/streams.md. open: what each open step has said.   stored: values."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.open: dict[int, str] = {}
        self.stored: list[Any] = []
        super().__init__(*args, **kwargs)

    def back_to(self, place: int) -> None:
        """Forget all behind this event."""
        events, self.events, self.open, self.stored = self.events[: place + 1], [], {}, []
        for event in events:
            self.events.append(event)
            self._take(event)

    def until_shown(self, text: str) -> None:
        while self.shown != text:
            event = self._next()
            assert event is not None, self.events
            self.events.append(event)
            self._take(event)

    @property
    def shown(self) -> str:
        return "".join(self.open.values())

    def _take(self, event: dict[str, Any]) -> None:
        match event:
            case {"type": "void", "from_offset": 0}:
                self.open, self.stored = {}, []
            case {"type": "void"}:
                self.open |= dict.fromkeys(event.get("steps", ()), "")
            case {"type": "delta", "step": step, "data": data}:
                self.open[step] = self.open.get(step, "") + data
            case {"type": "step_committed", "step": step, "value": value}:
                self.open.pop(step, None)
                self.stored.append(value)


class History:
    """One run of two steps that speak, its engine, and two readers: one keeps its place, one goes back at random."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.random = random.Random(seed)
        for limit in LIMITS:
            self.may_say(limit, 0)
        self.start()
        self.steady = Follower(self.engine.ingress_port, "/Desk/twice", method="POST")
        self.steady.until("started")
        self.wandering = Follower(self.engine.ingress_port, f"/restate/stream/{self.steady.invocation_id}")
        self.wandering.until("started")

    def start(self) -> None:
        options = ("--data", "data")
        self.engine = Running(
            "run", HERE / "speaking_app.py", *options, cwd=self.folder, SPEAKING_FOLDER=str(self.folder)
        ).__enter__()

    def may_say(self, limit: str, count: int) -> None:
        made = self.folder / f"{limit}.new"
        made.write_text(str(count))
        made.rename(self.folder / limit)

    def speak_and_die(self, limit: str) -> None:
        """Some words, seen by both readers; then worker or engine is killed, and the words are void."""
        count = self.random.randint(1, len(ANSWER) - 1)
        self.may_say(limit, count)
        for reader in (self.steady, self.wandering):
            reader.until_shown("".join(ANSWER[:count]))
        self.may_say(limit, 0)
        if self.random.random() < 0.5:
            self.engine.close()  # kill -9
            self.start()
            self.come_again(self.steady, len(self.steady.events) - 1)
            self.wander()
        else:
            self.kill_worker()
            if self.random.random() < 0.5:
                self.wander()
        for reader in (self.steady, self.wandering):
            reader.until_shown("")

    def kill_worker(self) -> None:
        self.engine.kill_worker()

    def wander(self) -> None:
        """Go on behind any event of those that came."""
        self.come_again(self.wandering, self.random.randrange(len(self.wandering.events)))

    def come_again(self, reader: Follower, place: int) -> None:
        reader.close()
        reader.back_to(place)
        reader.connect(self.engine.ingress_port)

    def close(self) -> None:
        self.steady.close()
        self.wandering.close()
        self.engine.close()


@pytest.mark.parametrize("seed", SEEDS)
def test_readers_end_up_with_the_journal(tmp_path: Path, seed: int) -> None:
    world = History(tmp_path, seed)
    try:
        for limit in LIMITS:
            for _ in range(world.random.randint(1, 2)):
                world.speak_and_die(limit)
            world.may_say(limit, len(ANSWER))
        late = Follower(world.engine.ingress_port, f"/restate/stream/{world.steady.invocation_id}")
        for reader in (world.steady, world.wandering, late):
            assert reader.until("ended")["result"] == [TEXT, TEXT]
            assert (reader.stored, reader.shown) == ([TEXT, TEXT], "")
            offsets = [event["offset"] for event in reader.events]
            assert offsets == sorted(set(offsets))
            assert reader.events.count(reader.events[0]) == 1
        late.close()
        assert late.events == world.steady.events == world.wandering.events
    finally:
        world.close()
