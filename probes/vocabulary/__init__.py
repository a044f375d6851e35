"""Names that every part shares: sites, axes, bases, controls. Torch is not needed to read or spell them."""
