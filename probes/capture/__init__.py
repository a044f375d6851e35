"""What the model shows: hidden states of any architecture, reduced to a few numbers while the forward pass runs."""

from probes.capture.collect import BatchReadings as BatchReadings
from probes.capture.collect import Reading as Reading
from probes.capture.collect import collect as collect
from probes.capture.collect import read_batch as read_batch
from probes.capture.models import LoadedModel as LoadedModel
from probes.capture.models import load_model as load_model
from probes.capture.prompts import Prompt as Prompt
from probes.capture.prompts import PromptError as PromptError
from probes.capture.prompts import encode as encode
from probes.capture.sites import Site as Site
from probes.capture.sites import SiteKind as SiteKind
from probes.capture.sites import resolve_sites as resolve_sites
from probes.capture.states import capture_states as capture_states
