"""Training recipes; they need the extra `train`."""
