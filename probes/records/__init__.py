"""What was measured: the tables of a sweep, how they are written, and how they are read back."""

from probes.records.read import Records as Records
from probes.records.union import open_run as open_run
