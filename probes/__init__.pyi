from .capture.collection import collect as collect
from .capture.states import capture_states as capture_states
from .interventions.edits import ablate as ablate
from .interventions.edits import pin as pin
from .interventions.edits import swap as swap
from .interventions.effects import intervene as intervene
from .interventions.effects import patch_layers as patch_layers
from .models.loading import load_model as load_model
from .records.union import open_run as open_run
from .sweep.run import run_sweep as run_sweep

__version__: str
