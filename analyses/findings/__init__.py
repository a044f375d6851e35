"""What may be said of a panel: the record of a finding, its parts, its verdict and its sentence."""
