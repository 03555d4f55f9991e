"""`rewake state export` and `import` between engines, with what can come between."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from cli_process import Running

APP: Final = """
import restate

cart = restate.VirtualObject("Cart")
flow = restate.Workflow("Flow")
plain = restate.Service("Plain")


@cart.handler()
async def put(ctx: restate.ObjectContext, values: dict[str, str]) -> None:
    for name, value in values.items():
        ctx.set(name, value)


@cart.handler()
async def hold(ctx: restate.ObjectContext) -> str:
    name, resolved = ctx.awakeable(type_hint=str)
    ctx.set("held", name)
    return await resolved


@cart.handler(kind="shared")
async def get(ctx: restate.ObjectSharedContext, name: str) -> str | None:
    return await ctx.get(name, type_hint=str)


@flow.main()
async def run(ctx: restate.WorkflowContext, text: str) -> str:
    ctx.set("text", text)
    return text


@plain.handler()
async def nothing(ctx: restate.Context) -> None:
    return None
"""


KEYS: Final[dict[str, dict[str, str]]] = {
    "k%2Fey%20%E2%9C%93%27s": {"quote'": "it's", "": "unnamed"},
    "large": {"text": "ä" * 150_000},
    **{f"key-{number:04}": {"n": str(number)} for number in range(30)},
}
"""Keys that need care, and many that do not."""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Tests leave its state as it is."""
    folder = tmp_path_factory.mktemp("source")
    (folder / "app.py").write_text(APP)
    with Running("run", "app.py", cwd=folder) as engine:
        for key, values in KEYS.items():
            assert engine.call(f"/Cart/{key}/put", values)[0] == 200
        assert engine.call("/Flow/w1/run", "done")[0] == 200
        yield engine


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Running]:
    (tmp_path / "app.py").write_text(APP)
    with Running("run", "app.py", cwd=tmp_path) as engine:
        yield engine


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the state is exported to."""
    return tmp_path / "s.jsonl"


def transferred(engine: Running, *args: str | Path) -> dict[str, Any]:
    result = engine.cli("state", *map(str, args), "--json")
    assert result.returncode == 0, result.stderr
    told: dict[str, Any] = json.loads(result.stdout)
    return told


def whole_of(told: dict[str, Any]) -> dict[str, Any]:
    """The sum alone."""
    return {name: told[name] for name in ("keys", "entries", "sha256")}


def test_there_and_back(source: Running, target: Running, file: Path) -> None:
    told = transferred(source, "export", file)
    assert (told["keys"], told["entries"]) == (33, 34)
    assert transferred(target, "import", file) == {**whole_of(told), "unchanged": 0}
    again = transferred(target, "export", "t.jsonl")
    assert again == told
    assert file.read_bytes() == (target.cwd / "t.jsonl").read_bytes()
    assert target.call("/Cart/k%2Fey%20%E2%9C%93%27s/get", "quote'") == (200, "it's")
    assert target.rows("select value_utf8 from state where service_name = 'Flow'") == [{"value_utf8": '"done"'}]
    assert transferred(target, "import", file)["unchanged"] == 33


def test_an_export_that_was_cut_off_goes_on(source: Running, file: Path) -> None:
    whole = transferred(source, "export", file)
    lines = file.read_bytes().splitlines(keepends=True)
    part = file.with_name("s.jsonl.part")
    part.write_bytes(b"".join(lines[:10]) + lines[10][:5])
    assert transferred(source, "export", file) == whole | {"resumed": 9}
    assert file.read_bytes() == b"".join(lines)
    assert not part.exists()


def test_state_of_another_kind_is_not_overwritten(source: Running, target: Running, file: Path) -> None:
    """What is there already is passed over, as after an import that was cut off."""
    whole = transferred(source, "export", file)
    assert target.call("/Cart/key-0000/put", {"n": "other", "more": "x"})[0] == 200
    before = target.rows("select service_key, key, value_utf8 from state")
    refused = target.cli("state", "import", str(file))
    assert (refused.returncode, "RW1014" in refused.stderr, "Cart/key-0000" in refused.stderr) == (1, True, True)
    assert target.rows("select service_key, key, value_utf8 from state") == before
    assert target.call("/Cart/key-0003/put", {"n": "3"})[0] == 200
    assert transferred(target, "import", file, "--force")["unchanged"] == 1
    assert target.call("/Cart/key-0000/get", "n") == (200, "0")
    assert target.call("/Cart/key-0000/get", "more") == (200, None)
    assert transferred(target, "export", "t.jsonl")["sha256"] == whole["sha256"]


def test_a_busy_key_gets_its_state_when_it_is_free(source: Running, target: Running, file: Path) -> None:
    transferred(source, "export", file)
    held = target.send("/Cart/key-0000/hold")
    (row,) = target.until("select value_utf8 from state where key = 'held'")
    busy = target.cli("state", "import", str(file), "--force", "--wait", "100ms")
    assert (busy.returncode, "Cart/key-0000" in busy.stderr) == (1, True)
    done: list[dict[str, Any]] = []
    waiting = threading.Thread(target=lambda: done.append(transferred(target, "import", file, "--force")))
    waiting.start()
    awakeable = json.loads(row["value_utf8"])
    assert target.call(f"/restate/awakeables/{awakeable}/resolve", "go on")[0] == 202
    target.until(f"select id from sys_invocation where id = '{held}' and status = 'completed'")
    waiting.join(30)
    assert done
    assert target.call("/Cart/key-0000/get", "held") == (200, None)


def test_a_key_that_is_too_large_is_named(target: Running, file: Path) -> None:
    """The others are imported."""
    assert target.call("/Cart/huge/put", {"text": "x" * 2_500_000})[0] == 200
    assert target.call("/Cart/small/put", {"n": "2"})[0] == 200
    transferred(target, "export", file)
    for key in ("huge", "small"):
        assert target.cli("state", "clear", "Cart", key).returncode == 0
    refused = target.cli("state", "import", str(file))
    assert (refused.returncode, "RW1014" in refused.stderr, "Cart/huge" in refused.stderr) == (1, True, True)
    assert target.call("/Cart/small/get", "n") == (200, "2")


def test_one_service_alone_and_names_that_have_no_state(source: Running, file: Path) -> None:
    assert transferred(source, "export", file, "--service", "Flow")["keys"] == 1
    other = file.with_name("x.jsonl")
    unknown = source.cli("state", "export", str(other), "--service", "Flo")
    assert (unknown.returncode, "Did you mean Flow" in unknown.stderr) == (3, True)
    assert source.cli("state", "export", str(other), "--service", "Plain").returncode == 3
    assert not other.exists()


def test_an_engine_without_the_services_is_told_so(source: Running, tmp_path: Path, file: Path) -> None:
    transferred(source, "export", file)
    with Running("server", cwd=tmp_path) as empty:
        refused = empty.cli("state", "import", str(file))
    assert (refused.returncode, "rewake deployments register URL" in refused.stderr) == (3, True)
