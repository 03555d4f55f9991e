"""From a laptop to a real three-node cluster: the same files, answers and journals, the same state, and no lost run.

Each tour app is served once, a Python file by `rewake serve`, and registered with `rewake server` and with the cluster,
so that nothing but the engine differs. The support routers are left out: they do nothing that the remote specialists do
not. With REWAKE_ALL_CRASHES=1 come those that others stand for. Skipped where npm cannot bring the Restate server.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from cli_process import Running, rewake
from cluster import Cluster, running_cluster
from node_tour import Answer, Engine, Process, free_port, installed, make_engine, node, until
from tour import ALL, HANDOFFS, REMOTE, SUPPORT, TOURS, Tour, answered, asked, needs, plain
from ui_stage import Pages

from rewake.testing.models import ModelServer, Rule
from rewake.testing.models.rules_file import load_rules

pytestmark = pytest.mark.timeout(180)

CUSTOMERS = [f"customer-{number}" for number in range(12)]
BIKE = {"customer": "alice", "text": "I fell off my bike and was in hospital for two days."}
HOSPITAL = {"customer": "alice", "text": "I fell off my bike. The hospital wants 800 euros."}
TYPESCRIPT = [("ts_remote_specialists", "/ClaimRouter/answer", BIKE)]
TYPESCRIPT += [("ts_claim_approval", "/ClaimApproval/claim-1/run", HOSPITAL)] * ALL


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running_cluster(tmp_path_factory.mktemp("cluster")) as running:
        yield running


@pytest.fixture(scope="module")
def laptop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with running_laptop(tmp_path_factory.mktemp("laptop")) as engine:
        yield engine


@contextmanager
def running_laptop(folder: Path) -> Iterator[Engine]:
    engine = make_engine(folder)
    try:
        engine.start()
        yield engine
    finally:
        engine.kill()


@contextmanager
def served(app: str | Path, rules: list[Rule], folder: Path, **env: str) -> Iterator[tuple[Running, ModelServer]]:
    with ModelServer(rules) as models, Running("serve", app, cwd=folder, **models.env(), **env) as running:
        yield running, models


def register(port: int, *engines: Engine) -> None:
    """Over our own command line, Rewake and Restate alike."""
    for engine in engines:
        url, admin = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{engine.port}"
        result = rewake("deployments", "register", url, "--admin", admin, cwd=engine.folder)
        assert result.returncode == 0, result.stderr


def says(engine: Engine, path: str, body: Any) -> Answer:
    answer = engine.call(path, body)
    assert answer.status == 200, answer
    return answer


def plain_typescript(body: Any) -> Any:
    """An answer without the ids that differ from call to call."""
    if isinstance(body, dict):
        return {name: value for name, value in body.items() if name not in ("trace", "invocations")}
    return body


def rows(engine: Engine, sql: str) -> list[dict[str, Any]]:
    """The rows of a query; asked again while a cluster moves a partition, when it answers 500."""
    found: list[list[dict[str, Any]]] = []

    def is_answered() -> bool:
        try:
            found.append(engine.query(sql))
        except AssertionError as error:
            if "partition store" not in str(error):
                raise
        return bool(found)

    until(is_answered)
    return found[-1]


def journals(engine: Engine, invocation_id: str) -> dict[str, tuple[str, ...]]:
    """By service, what an invocation and those it called journaled: kinds and names of commands after the input."""
    waiting, found = [invocation_id], {}
    while waiting:
        each = waiting.pop()
        (row,) = rows(engine, f"select target_service_name as service from sys_invocation where id = '{each}'")
        journal = rows(engine, f"select entry_type, name from sys_journal where id = '{each}' order by \"index\"")
        kinds = [(step["entry_type"].partition(": "), step.get("name", "")) for step in journal]
        found[row["service"]] = tuple(
            f"{kind} {name}".strip() for (family, _, kind), name in kinds if family == "Command" and kind != "Input"
        )
        waiting += [row["id"] for row in rows(engine, f"select id from sys_invocation where invoked_by_id = '{each}'")]
    return found


@pytest.mark.parametrize("tour", [needs(tour) for tour in TOURS if (tour is not SUPPORT if ALL else tour is REMOTE)])
def test_the_tour_is_the_same_on_a_cluster(tour: Tour, laptop: Engine, cluster: Cluster, tmp_path: Path) -> None:
    with served(tour.app, tour.rules(), tmp_path) as (app, models):
        register(app.port, laptop, cluster.one)
        for engine in (laptop, cluster.one):
            answer = says(engine, tour.path.format(key="alice"), tour.ask(tour.claim))
            assert plain(answer.body) == tour.answer
            assert asked(models) == dict.fromkeys(tour.models, 1)
            assert journals(engine, answer.invocation_id) == tour.commands
            models.reset()


@pytest.mark.parametrize("tour", [needs(HANDOFFS)])
def test_every_node_shows_the_whole_cluster_in_the_web_ui(tour: Tour, cluster: Cluster, tmp_path: Path) -> None:
    with served(tour.app, tour.rules(), tmp_path) as (app, _):
        register(app.port, cluster.one)
        run_id = says(cluster.one, tour.path.format(key="shown"), tour.ask(tour.claim)).invocation_id
        shown = []
        for member in cluster.alive[:2]:
            with Running("ui", "--admin", f"http://127.0.0.1:{member.port}", cwd=tmp_path) as ui:
                pages = Pages(ui.port)
                until(lambda pages=pages: pages.ask("GET", "/")[0] == 200)  # type: ignore[misc]
                assert run_id in [run["id"] for run in pages.page("/", text=run_id)["runs"]]
                shown.append([pages.page(f"/runs/{run_id}"), pages.page(f"/runs/{run_id}/agents")])
        assert shown[0] == shown[1]
        run, agents = shown[0]
        assert run["run"]["status"] == "succeeded"
        assert len(agents["trace"]["agents"]) > 1
        assert agents["trace"]["handoffs"]


@pytest.mark.parametrize(("example", "path", "body"), TYPESCRIPT)
def test_the_typescript_tour_is_the_same(
    example: str, path: str, body: Any, laptop: Engine, cluster: Cluster, tmp_path: Path
) -> None:
    folder, port = installed(example), free_port()
    with ExitStack() as stack:
        models = stack.enter_context(ModelServer(load_rules(str(folder / "models.json"))))
        environment = {**models.env(), "PORT": str(port)}
        app = Process([str(node()), "app.ts"], port, folder=folder, log=tmp_path / "log", environment=environment)
        stack.callback(app.kill)
        app.start()
        register(port, laptop, cluster.one)
        if (folder / "specialists.py").exists():
            python = stack.enter_context(Running("serve", folder / "specialists.py", cwd=tmp_path, **models.env()))
            register(python.port, laptop, cluster.one)
        told = []
        for engine in (laptop, cluster.one):
            answer = says(engine, path, body)
            told.append((plain_typescript(answer.body), asked(models), journals(engine, answer.invocation_id)))
            models.reset()
        assert told[0] == told[1]
        assert any("Run" in command for commands in told[0][2].values() for command in commands)


@pytest.mark.parametrize("tour", [needs(HANDOFFS)])
def test_state_moves_to_the_cluster_and_back(tour: Tour, cluster: Cluster, tmp_path: Path) -> None:
    def transfer(what: str, engine: Engine) -> dict[str, Any]:
        admin = f"http://127.0.0.1:{engine.port}"
        selected = ("--service", "ClaimDesk") if what == "export" else ()
        result = rewake("state", what, *selected, "state.jsonl", "--json", "--admin", admin, cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        told: dict[str, Any] = json.loads(result.stdout)
        return told

    path = tour.path.format(key="bob")
    with served(tour.app, tour.rules(), tmp_path) as (app, models), running_laptop(tmp_path) as laptop:
        register(app.port, laptop, cluster.one)
        says(laptop, path, tour.claim)
        moved = transfer("export", laptop)
        assert moved["keys"] == 1
        assert says(cluster.one, "/ClaimDesk/bob/agent", None).body == "Intake"
        arrived = transfer("import", cluster.one)
        assert arrived["sha256"] == moved["sha256"]
        models.reset()
        assert says(cluster.one, path, "When is the money paid?").body["agent"] == "Medical specialist"
        assert asked(models) == {"medical-chat": 1}  # It knows the conversation, so nobody routes it again.

        says(cluster.one, "/ClaimDesk/carol/message", tour.claim)
        back = transfer("export", cluster.one)
        # What was said on the laptop is older than what was said on the cluster.
        admin = f"http://127.0.0.1:{laptop.port}"
        refused = rewake("state", "import", "state.jsonl", "--admin", admin, cwd=tmp_path)
        assert (refused.returncode, "ClaimDesk/bob" in refused.stderr) == (1, True)
        forced = rewake("state", "import", "state.jsonl", "--force", "--json", "--admin", admin, cwd=tmp_path)
        assert json.loads(forced.stdout)["sha256"] == back["sha256"]
        assert says(laptop, "/ClaimDesk/carol/agent", None).body == "Medical specialist"


@pytest.mark.parametrize("tour", [needs(HANDOFFS)])
def test_a_killed_node_loses_no_run(tour: Tour, tmp_path: Path) -> None:
    """Runs are in their middle, on all nodes, when one of these is killed; no finished step is done again.

    The specialist's model call is held until those that were cut have come again on another node. On a cluster of its
    own: for a while after the loss of a node, SQL fails on the others. A busy cluster moves leaders whenever it likes,
    and asks again what it had not stored, so only answers that were stored at the kill are counted.
    """
    routed, held = tour.models[:2]
    with running_cluster(tmp_path) as cluster, served(tour.app, tour.rules(), tmp_path) as (app, models):
        register(app.port, cluster.one)
        for key in CUSTOMERS:  # All partitions have their leaders now.
            assert says(cluster.one, f"/ClaimDesk/{key}/agent", None).body == "Intake"
        models.hold(held)
        ids = [
            str(cluster.one.call(tour.path.format(key=key) + "/send", tour.claim).body["invocationId"])
            for key in CUSTOMERS
        ]
        until(lambda: outcomes(models, held)["pending"] == len(CUSTOMERS))
        cut_before, routed_before = outcomes(models, held)["abandoned"], answered(models)[routed]
        cluster.kill_node(max(cluster.alive, key=lambda node: connection_count(node, app.port)))
        until(lambda: outcomes(models, held)["abandoned"] > cut_before)
        until(lambda: outcomes(models, held)["pending"] == len(CUSTOMERS), 60.0)
        models.release(held)
        for invocation_id in ids:
            until(lambda invocation_id=invocation_id: is_answered(cluster.one, invocation_id, tour), 60.0)  # type: ignore[misc]
        assert answered(models)[routed] == routed_before
        assert {rule: count >= len(CUSTOMERS) for rule, count in answered(models).items()} == dict.fromkeys(
            tour.models, True
        )
        for node in cluster.alive:
            assert says(node, "/ClaimDesk/customer-0/agent", None).body == "Medical specialist"


def outcomes(models: ModelServer, rule: str) -> Counter[str]:
    """How the calls of a rule ended, or `pending`."""
    return Counter(exchange.outcome for exchange in models.exchanges if exchange.rule == rule)


def connection_count(node: Engine, port: int) -> int:
    """Connections of a node to an app, over which it runs attempts."""
    connections = psutil.Process(node.pid).net_connections("tcp4")
    return sum(1 for each in connections if each.raddr and each.raddr.port == port)


def is_answered(node: Engine, invocation_id: str, tour: Tour) -> bool:
    answer = node.get(f"/restate/invocation/{invocation_id}/output")
    if answer.status != 200:
        return False
    assert plain(answer.body) == tour.answer
    return True
