"""A Ray cluster of several nodes on this machine, some of which die when told to.

``python -m tests.probes.sweep.ray_nodes ADDRESS_FILE`` holds one of three nodes, writes where it can be reached, and
ends it when its standard input closes.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ray.cluster_utils import Cluster

QUIET = {"include_dashboard": False, "include_log_monitor": False, "no_monitor": True}


class Nodes:
    """A head, and nodes of one CPU each."""

    def __init__(self, n: int, *, head_cpus: int = 0) -> None:
        self._cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": head_cpus, **QUIET})
        self._others: list[Any] = []
        for _ in range(n):
            self.add()

    @property
    def address(self) -> str:
        """Of the head."""
        return self._cluster.address

    def add(self, *, wait: bool = True) -> None:
        """Let a node join."""
        self._others.append(self._cluster.add_node(wait=wait, num_cpus=1, include_log_monitor=False))

    def kill(self) -> None:
        """Kill the oldest node but the head, and all that runs on it."""
        self._cluster.remove_node(self._others.pop(0), allow_graceful=False)

    def end(self) -> None:
        """End them all."""
        self._cluster.shutdown()


def main(address_file: str) -> None:
    nodes = Nodes(2)
    Path(address_file).write_text(nodes.address)
    sys.stdin.read()
    nodes.end()


if __name__ == "__main__":
    main(*sys.argv[1:])
