"""States that measuring hands over to the controls, so that the reservoir goes through the model once.

Items of the reservoir have batches of their own (`probes.sweep.planning.plan`). The passes that measure them are
watched, and the states that controls will ask for are kept. Kept or read again, they are the same to the bit, because
both come from the same batches: a sweep that is interrupted, measured by worker processes or short of room loses time
and nothing else. Passes of an accelerator are not watched: hooks there must not wait for the device, and reading again
is cheap.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from typing import Final

from probes.controls.member_states import Keeper, States, Wanted, wanted_states
from probes.controls.reservoir import POSITIONS, Member
from probes.models.loading import LoadedModel
from probes.sweep.planning.run_plan import Run, RunPlan
from probes.sweep.spec import SweepSpec
from probes.vocabulary.prompt import Prompt

MOST_BYTES: Final = 8 << 30  # of the states of all runs together, in temporary files
MOST_OF_DISK: Final = 0.25  # of what is free there; runs beyond either are read again


class _Kept:
    """The states of one run in the making."""

    def __init__(self, plan: RunPlan, wanted: Wanted) -> None:
        names = [one.example_id for one in plan.members]
        self.place = {name: at for at, name in enumerate(names)}
        self.batches = {tuple(batch) for batch in plan.member_batches(names)}
        self.wanted, self.states = wanted, States()


class Handover:
    """States kept for the reservoirs of some runs; the runs are measured in this process."""

    def __init__(self, spec: SweepSpec, plans: Sequence[RunPlan]) -> None:
        self._spec = spec
        self._plans = {plan.run.run_id: plan for plan in plans if plan.control_cells and plan.members}
        self._kept: dict[str, _Kept | None] = {}
        self._room = min(MOST_BYTES, MOST_OF_DISK * shutil.disk_usage(tempfile.gettempdir()).free)

    def keeper(
        self, run: Run, model: LoadedModel, asked: Sequence[str], prompts: Mapping[str, Prompt]
    ) -> Keeper | None:
        """Watcher of a pass over some prompts of a planned batch; None where nothing of it is kept.

        Args:
            run: whose batch it is.
            model: of the run.
            asked: the items of the batch as planned.
            prompts: those of them that could be read, all in this pass.
        """
        if run.run_id not in self._kept:
            wanted = self.reserve(run, model)
            self._kept[run.run_id] = None if wanted is None else _Kept(self._plans[run.run_id], wanted)
        kept = self._kept[run.run_id]
        if kept is None or tuple(asked) not in kept.batches or not kept.wanted.sites:
            return None
        return Keeper(kept.states, kept.wanted, list(prompts.values()), [kept.place[name] for name in prompts])

    def take(self, run_id: str, members: Sequence[Member]) -> States | None:
        """The states of a run, numbered as its reservoir came to be; whoever takes them closes them."""
        kept = self._kept.pop(run_id, None)
        if kept is None:
            return None
        place = {one.example_id: at for at, one in enumerate(members)}
        kept.states.renumber([place.get(name, -1) for name in kept.place])
        return kept.states

    def reserve(self, run: Run, model: LoadedModel) -> Wanted | None:
        """The states of a run that are kept, with room put by for them; None if there is none."""
        plan = self._plans.get(run.run_id)
        if plan is None or model.device.type != "cpu":
            return None
        spec = self._spec.for_model(run.entry)
        positions = [position for position in spec.positions if position in POSITIONS]
        wanted = wanted_states(model, run.sites, positions, len(plan.members), spec.control_names())
        n_bytes = wanted.n_bytes(len(plan.members))
        if n_bytes > self._room:
            return None
        self._room -= n_bytes
        return wanted
