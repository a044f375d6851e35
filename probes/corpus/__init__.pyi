from .alphabet import Bytes as Bytes
from .alphabet import Tokens as Tokens
from .corpora import build_index as build_index
from .corpora import open_index as open_index
from .corpora import read_corpus as read_corpus
from .corpora import read_dataset as read_dataset
from .matching import highlight as highlight
