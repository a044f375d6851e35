"""What is asked: suites of in-distribution and shifted inputs, one file per suite or family of suites."""

from probes.suites.example import SUITES as SUITES
from probes.suites.example import Example as Example
from probes.suites.example import Item as Item
from probes.suites.example import Suite as Suite
from probes.suites.example import suite as suite
from probes.vocabulary.axes import AXES as AXES
from probes.vocabulary.axes import Axis as Axis
