"""Phonons: displacements, force constants, spectra, files; the only room that knows phonopy and phono3py."""
