"""What does this model do on these inputs? Suites, collectors, records and sweeps.

>>> import probes
>>> probes.load_model.__module__
'probes.models.loading'

The names below are looked up when they are used, so that reading a sweep or printing help does not import torch.
"""

import importlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from probes.capture import capture_states as capture_states
    from probes.capture import collect as collect
    from probes.capture import load_model as load_model
    from probes.interventions.edits import ablate as ablate
    from probes.interventions.edits import pin as pin
    from probes.interventions.edits import swap as swap
    from probes.interventions.effects import intervene as intervene
    from probes.interventions.effects import patch_layers as patch_layers
    from probes.records import open_run as open_run
    from probes.sweep.run import run_sweep as run_sweep

_HOMES: Final = {
    "ablate": "probes.interventions.edits",
    "capture_states": "probes.capture",
    "collect": "probes.capture",
    "intervene": "probes.interventions.effects",
    "load_model": "probes.capture",
    "open_run": "probes.records",
    "patch_layers": "probes.interventions.effects",
    "pin": "probes.interventions.edits",
    "run_sweep": "probes.sweep.run",
    "swap": "probes.interventions.edits",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'probes' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
