"""Where a model keeps its sites: derived and proved where blocks add, a short table per family where they do not."""

from probes.capture.taps.meeting import find_taps as find_taps
from probes.capture.taps.table import Layout as Layout
from probes.capture.taps.table import Point as Point
from probes.capture.taps.table import Tap as Tap
from probes.capture.taps.table import Taps as Taps
