"""Residual force constants: frames matched to a supercell, symmetric bases, ridge regression."""
