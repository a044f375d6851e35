from .read import Records as Records
from .union import open_run as open_run
