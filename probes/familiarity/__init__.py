"""How well does what a model has read know this input? Code lengths, exact counts in a corpus, distances to states."""

from probes.familiarity.records import FAMILIARITY as FAMILIARITY
from probes.familiarity.records import FamiliaritySpec as FamiliaritySpec
from probes.familiarity.records import parse_familiarity as parse_familiarity

FAMILIARITY.load("probes.familiarity.measures")
