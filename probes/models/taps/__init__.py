"""Modules and tensors of a model that hold each site: by the arithmetic of its blocks or a family's table."""

from probes.models.taps.resolution import find_taps as find_taps
from probes.models.taps.table import Layout as Layout
from probes.models.taps.table import Point as Point
from probes.models.taps.table import Tap as Tap
from probes.models.taps.table import Taps as Taps
