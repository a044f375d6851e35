from .interpolation import Interpolated as Interpolated
from .interpolation import tune as tune
from .knn import KnnMemory as KnnMemory
from .knn import remember_corpus as remember_corpus
from .opening import open_memory as open_memory
from .opening import save_memory as save_memory
from .recall import Memory as Memory
from .recall import Weight as Weight
