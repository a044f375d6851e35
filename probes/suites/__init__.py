"""What is asked: suites of in-distribution and shifted inputs, one file per suite or family of suites."""

from probes.suites.axes import AXES as AXES
from probes.suites.axes import Axis as Axis
from probes.suites.example import SUITES as SUITES
from probes.suites.example import Example as Example
from probes.suites.example import Item as Item
from probes.suites.example import Suite as Suite
from probes.suites.example import suite as suite
