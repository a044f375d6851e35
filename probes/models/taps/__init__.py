"""Where a model keeps its sites: derived and proved where blocks add, a short table per family where they do not."""

from probes.models.taps.resolution import find_taps as find_taps
from probes.models.taps.table import Layout as Layout
from probes.models.taps.table import Point as Point
from probes.models.taps.table import Tap as Tap
from probes.models.taps.table import Taps as Taps
