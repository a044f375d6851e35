"""A language model as a lossless compressor: bytes in, a stream out, the same bytes again in another process."""

from probes.compression.archive import compress as compress
from probes.compression.archive import decompress as decompress
