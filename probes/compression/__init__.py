"""A language model as a lossless compressor: bytes in, a stream out, the same bytes again in another process."""

from probes.compression.archive import compress as compress
from probes.compression.archive import decompress as decompress
from probes.compression.classical import compressors as compressors
from probes.compression.generator import generate as generate
from probes.compression.generator import next_byte as next_byte
from probes.compression.prequential import Plan as Plan
from probes.compression.prequential import describe as describe
from probes.compression.prequential import recall as recall
from probes.compression.table import rates as rates
from probes.compression.table import samples as samples
