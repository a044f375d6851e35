from .loading import LoadedModel as LoadedModel
from .loading import load_model as load_model
