"""What a sweep is asked: the spec, its entries, and the YAML that it is read from."""

from probes.sweep.spec.entries import SweepSpec, load_spec, parse_spec

__all__ = ["SweepSpec", "load_spec", "parse_spec"]
