"""Where each architecture keeps its sites: one short table per family, and what can be derived safely for the rest."""

from probes.capture.taps.meeting import find_taps as find_taps
from probes.capture.taps.table import Layout as Layout
from probes.capture.taps.table import Point as Point
from probes.capture.taps.table import Tap as Tap
from probes.capture.taps.table import Taps as Taps
