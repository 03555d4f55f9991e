"""A real Restate cluster of three nodes on the loopback, from npm: what graduation is tested against.

Each node runs all roles and has an ingress and an admin API of its own; data is on two of three, so the cluster goes on
without any one of them. Programs and skipping are node_tour.py's.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from node_tour import RESTATE_PACKAGE, Engine, free_port, npm_program, until

NODE_COUNT: Final = 3
PARTITION_COUNT: Final = 6
READY_SECONDS_MAX: Final = 60.0


class Cluster:
    """Three nodes. `nodes` has all of them, `alive` those that were not killed."""

    def __init__(self, folder: Path) -> None:
        program = npm_program(RESTATE_PACKAGE, "bin/restate-server")
        node_ports = [free_port() for _ in range(NODE_COUNT)]
        addresses = json.dumps([f"http://127.0.0.1:{port}" for port in node_ports])
        self.nodes = [_node(program, folder / f"node{n}", n, port, addresses) for n, port in enumerate(node_ports)]
        self.alive = list(self.nodes)

    def start(self) -> None:
        """Returns when every node takes calls."""
        with ThreadPoolExecutor(NODE_COUNT) as starters:
            list(starters.map(Engine.start, self.nodes))
        for node in self.nodes:
            until(lambda node=node: node.get("/restate/health").status == 200, READY_SECONDS_MAX)  # type: ignore[misc]

    def kill_node(self, node: Engine) -> None:
        """kill -9 of one node."""
        self.alive.remove(node)
        node.kill()

    def close(self) -> None:
        for node in self.nodes:
            node.kill()

    @property
    def one(self) -> Engine:
        """A node that is alive."""
        return self.alive[0]


@contextmanager
def running_cluster(folder: Path) -> Iterator[Cluster]:
    cluster = Cluster(folder)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.close()


def _node(program: Path, folder: Path, number: int, port: int, addresses: str) -> Engine:
    folder.mkdir()
    ingress_port, admin_port = free_port(), free_port()
    return Engine(
        [str(program), "--base-dir", str(folder / "data"), "--node-name", f"node{number}", "--no-logo"],
        folder,
        admin_port,
        ingress_port,
        DO_NOT_TRACK="1",
        TMPDIR=str(folder),
        RESTATE_CLUSTER_NAME="graduation",
        RESTATE_LISTEN_MODE="tcp",
        RESTATE_AUTO_PROVISION="true" if number == 0 else "false",
        RESTATE_DEFAULT_REPLICATION="2",
        RESTATE_DEFAULT_NUM_PARTITIONS=str(PARTITION_COUNT),
        RESTATE_METADATA_CLIENT__ADDRESSES=addresses,
        RESTATE_BIND_ADDRESS=f"127.0.0.1:{port}",
        RESTATE_ADVERTISED_ADDRESS=f"http://127.0.0.1:{port}",
        RESTATE_INGRESS__BIND_ADDRESS=f"127.0.0.1:{ingress_port}",
        RESTATE_ADMIN__BIND_ADDRESS=f"127.0.0.1:{admin_port}",
    )
