"""Whatever is killed when, and wherever a reader goes on: it ends up with what the journal has."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from rewake.core.ids import invocation_id_to_str
from rewake.protocol.messages import Success

from .kit import OneRun, Watcher

HISTORIES = 200
STEPS = 3


class History:
    """One run of some steps that speak, with kills of worker and engine drawn from a seed."""

    def __init__(self, path: Path, seed: int) -> None:
        self.random = random.Random(seed)
        self.world = OneRun(path)
        self.readers = [Watcher(self.world) for _ in range(3)]
        self.said: dict[str, str] = {}
        self.kills_left = 6

    async def play(self) -> None:
        self.world.begin()
        for number in range(STEPS):
            await self.step(f"Desk: model {number}", number)
        answer = Success(b'"bye"')
        self.world.end(answer, seen=not self.is_killed(0.2))
        if self.was_killed:
            self.restart()
        for reader in self.readers:
            while reader.ended is None:
                await reader.read(self.random.randint(1, 9))
            self.compare(reader)

    def compare(self, reader: Watcher) -> None:
        results = [row for row in self.world.rows if row.type_id == 0x8011]
        journal = {row.index: self.said[f"Desk: model {number}"] for number, row in enumerate(results)}
        assert reader.final == journal
        assert "".join(reader.shown.values()) == ""
        assert reader.started_count == 1
        assert reader.ended is not None and reader.ended.result == "bye"

    async def step(self, name: str, completion_id: int) -> None:
        """Tries until it is stored. The command may be stored before the body speaks, or only with its result."""
        self.is_stored = False
        while True:
            if self.random.random() < 0.5:
                self.store(name, completion_id)
            text = await self.speak(name, completion_id) if self.random.random() < 0.8 else "silent"
            if text is None:
                continue
            self.store(name, completion_id)
            await self.read_some()
            self.said[name] = text
            self.world.result(completion_id, f'"{text}"'.encode(), seen=not self.is_killed(0.15))
            if self.was_killed:
                self.restart()
            await self.read_some()
            return

    def store(self, name: str, completion_id: int) -> None:
        """The step's command, once."""
        if not self.is_stored:
            self.is_stored = True
            self.world.command(name, completion_id)

    async def speak(self, name: str, completion_id: int) -> str | None:
        """One try. None when something was killed while it spoke."""
        writing = self.world.writing(name, kind="model")
        text = ""
        fast = Watcher(self.world)
        for _ in range(self.random.randint(0, 6)):
            words = [f"{self.random.randrange(10**6)} " for _ in range(self.random.randint(1, 3))]
            writing.put([f'"{word}"'.encode() for word in words])
            text += "".join(words)
            if self.random.random() < 0.5:
                self.store(name, completion_id)
            await self.read_some()
            if self.is_killed(0.1):
                self.restart()
                return None
            if self.is_killed(0.1):  # the worker: its connection is cut before or after the engine notices
                if self.random.random() < 0.5:
                    writing.cut()
                self.world.fail()
                await fast.read()
                assert fast.text_of(name) == "", "void text is gone"
                self.world.begin()
                return None
            if self.is_killed(0.05):  # a try fails in place
                writing.cut()
                await fast.read()
                assert fast.text_of(name) == ""
                return None
        writing.end()
        self.store(name, completion_id)
        await fast.read()
        assert fast.text_of(name) == text, "nothing of the latest try is missing"
        return text

    def restart(self) -> None:
        """kill -9 of the engine: a new one on what is on disk, which may have lost its end."""
        path = self.world.path / "streams" / invocation_id_to_str(self.world.run)
        if path.exists() and self.random.random() < 0.3:
            data = path.read_bytes()
            path.write_bytes(data[: self.random.randint(0, len(data))])
        self.world.engine()
        if self.world.is_live:
            self.world.begin()

    def is_killed(self, likely: float) -> bool:
        self.was_killed = self.kills_left > 0 and self.random.random() < likely
        self.kills_left -= self.was_killed
        return self.was_killed

    async def read_some(self) -> None:
        if self.random.random() < 0.5:
            await self.random.choice(self.readers).read(self.random.randint(1, 5))


@pytest.mark.parametrize("first", range(0, HISTORIES, 100))
def test_a_reader_ends_up_with_the_journal(tmp_path: Path, first: int) -> None:
    async def main() -> None:
        for seed in range(first, first + 100):
            path = tmp_path / str(seed)
            path.mkdir()
            try:
                history = History(path, seed)
                with history.world:
                    await history.play()
            except BaseException as problem:
                problem.add_note(f"seed {seed}")
                raise

    asyncio.run(main())
