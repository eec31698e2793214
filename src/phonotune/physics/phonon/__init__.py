"""Phonons: displacements, force constants, spectra, files; the only room that imports phonopy and phono3py."""
