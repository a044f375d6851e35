"""What the model shows: hidden states of any architecture, reduced to a few numbers while the forward pass runs."""

from probes.capture.collection import BatchReadings as BatchReadings
from probes.capture.collection import Reading as Reading
from probes.capture.collection import collect as collect
from probes.capture.collection import read_batch as read_batch
from probes.capture.prompts import encode as encode
from probes.capture.states import capture_states as capture_states
from probes.models.loading import LoadedModel as LoadedModel
from probes.models.loading import load_model as load_model
from probes.models.templates import PromptError as PromptError
from probes.vocabulary.prompt import Prompt as Prompt
from probes.vocabulary.sites import Site as Site
from probes.vocabulary.sites import SiteKind as SiteKind
from probes.vocabulary.sites import resolve_sites as resolve_sites
