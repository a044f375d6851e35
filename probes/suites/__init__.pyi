from .example import SUITES as SUITES
from .example import Example as Example
from .example import Item as Item
from .example import Suite as Suite
from .example import suite as suite
