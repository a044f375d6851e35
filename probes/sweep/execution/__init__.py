"""Workers of a sweep: in this process, in processes beside it, or on a Ray cluster."""
