"""The same histories with the real store behind the one on dicts: every read must give the same from both."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.simulation.history import run
from tests.simulation.memory_store import MemoryStore

from rewake.core.ids import InvocationId
from rewake.core.model import Deployment, Invocation, Listener, Promise, Queued, ServiceSchema, Status
from rewake.core.writes import Batch, EntryRow
from rewake.store.store import Store

SEEDS = range(32)
CHUNK = 8


class MirroredStore(MemoryStore):
    """Writes to both, reads from both, hands out what SQLite gave."""

    def __init__(self, real: Store) -> None:
        super().__init__()
        self.real = real

    def apply(self, batch: Batch) -> None:
        super().apply(batch)
        failures: list[BaseException | None] = []
        self.real.submit(batch, failures.append)
        assert failures == [None]
        reader = self.real.reader
        assert reader.due_timers(1 << 60, 1000) == self.due_timers(1 << 60)
        for status in Status:
            if status is not Status.COMPLETED:
                assert sorted(reader.open_invocation_ids(status)) == sorted(self.ids_with(status))

    def invocation(self, invocation_id: bytes) -> Invocation | None:
        expected, found = super().invocation(InvocationId(invocation_id)), self.real.reader.invocation(invocation_id)
        if expected is not None and found is not None:
            found.is_stored = expected.is_stored
        assert found == expected
        return found

    def journal_rows(self, invocation_id: bytes) -> list[EntryRow]:
        found = self.real.reader.journal_rows(invocation_id)
        assert found == super().journal_rows(invocation_id)
        return found

    def journal(self, invocation_id: bytes) -> list[EntryRow]:
        found = self.real.reader.journal(invocation_id)
        assert found == super().journal(invocation_id)
        return found

    def listeners(self, invocation_id: bytes) -> list[Listener]:
        found = self.real.reader.listeners(invocation_id)
        assert found == super().listeners(invocation_id)
        return found

    def key_holder(self, service: str, key: str) -> InvocationId | None:
        found = self.real.reader.key_holder(service, key)
        assert found == super().key_holder(service, key)
        return found

    def key_queue(self, service: str, key: str) -> list[Queued]:
        found = self.real.reader.key_queue(service, key)
        assert found == super().key_queue(service, key)
        return found

    def state(self, service: str, key: str) -> dict[bytes, bytes]:
        found = self.real.reader.state(service, key)
        assert found == super().state(service, key)
        return found

    def promise(self, service: str, key: str, name: str) -> Promise | None:
        found = self.real.reader.promise(service, key, name)
        assert found == super().promise(service, key, name)
        return found

    def deployments(self) -> list[Deployment]:
        found = self.real.reader.deployments()
        assert sorted(found, key=_by_id) == sorted(super().deployments(), key=_by_id)
        return found

    def services(self) -> list[ServiceSchema]:
        found = self.real.reader.services()
        assert {item.name: item for item in found} == {item.name: item for item in super().services()}
        return found


def _by_id(deployment: Deployment) -> str:
    return deployment.id


@pytest.mark.parametrize("first", SEEDS[::CHUNK])
def test_sqlite_says_the_same(first: int, tmp_path: Path) -> None:
    for seed in range(first, first + CHUNK):
        real = Store.open(tmp_path / str(seed), now_ms=0)
        try:
            history = run(seed, MirroredStore(real))
            for invocation_id in history.store.invocations:
                history.store.invocation(invocation_id)
                history.store.journal(invocation_id)
            for name in history.store.values:
                history.store.state(*name)
            for promise_key in history.store.promises:
                history.store.promise(*promise_key)
        finally:
            real.close()
