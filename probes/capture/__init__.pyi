from .collection import BatchReadings as BatchReadings
from .collection import collect as collect
from .collection import read_batch as read_batch
from .prompts import encode as encode
from .prompts import pad as pad
from .reading import Reading as Reading
from .states import capture_states as capture_states
