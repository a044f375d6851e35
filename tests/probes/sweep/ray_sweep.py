"""A sweep on a real Ray cluster of several nodes, some of which are killed on the way; a process of its own.

``python -m tests.probes.sweep.ray_sweep SPEC OUT KILLS``: each time a fifth of the items is done, a node is killed and
another joins. Prints how many were killed.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from ray.cluster_utils import Cluster

from probes.sweep import run as running
from probes.sweep.interface import Options, Progress
from probes.sweep.run import run_sweep
from probes.sweep.spec import load_spec

NODES = 2


def main(spec: str, out: str, kills: str) -> None:
    torch.set_num_threads(1)
    running.FLUSH_SECONDS = 0.0
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    nodes = [cluster.add_node(num_cpus=1) for _ in range(NODES)]
    killed: list[int] = []

    def kill(progress: Progress) -> None:
        if len(killed) < int(kills) and progress.n_done >= (len(killed) + 1) * progress.n_items // 5:
            cluster.remove_node(nodes.pop(0), allow_graceful=False)
            killed.append(progress.n_done)
            if len(killed) < int(kills):
                nodes.append(cluster.add_node(num_cpus=1, wait=False))

    options = Options(batch_size=1, executor="ray", address=cluster.address)
    run_sweep(load_spec(Path(spec)), Path(out), options, on_progress=kill)
    print(len(killed), "nodes killed")
    cluster.shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:])
