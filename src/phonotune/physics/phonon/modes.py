"""One phonon mode as a real displacement pattern that does not depend on the phase of eigenvectors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Structure

from phonotune.errors import InputError
from phonotune.physics.phonon.cells import to_structure
from phonotune.physics.phonon.document import phonopy_of
from phonotune.physics.phonon.spectrum import is_gamma, without_acoustic
from phonotune.ports import FloatArray
from phonotune.schemas.phonon import PhononDocument


@dataclass(frozen=True, eq=False)
class Mode:
    """A mode of the primitive cell, chosen within its degenerate space.

    Attributes
    ----------
    primitive
        The primitive cell that q and the eigenvector refer to.
    masses
        shape (n_prim,), amu.
    q
        shape (3,), in reciprocal vectors of the primitive cell.
    band
        Index of the band, ascending in frequency.
    frequency
        THz, negative where imaginary.
    eigenvector
        shape (n_prim, 3), complex, mass-weighted, norm 1; displacements carry the phase
        exp(2πi q·x) with the full position x of each atom.
    direction
        Order parameter direction such as "a00" or "aa0" where symmetry fixed the direction and the
        phase of the standing wave; None where :func:`displacement_pattern` has to choose the phase.
    irrep
        Label of the irreducible representation at q, for the origin of the primitive cell, or None.
    complete
        False where the search for directions of its degenerate space stopped at a limit, so that there
        may be others.
    """

    primitive: Structure
    masses: FloatArray
    q: FloatArray
    band: int
    frequency: float
    eigenvector: NDArray[np.complex128]
    direction: str | None = None
    irrep: str | None = None
    complete: bool = True


@dataclass(frozen=True, eq=False)
class ModeSpace:
    """All modes at q that are degenerate with one.

    Attributes
    ----------
    primitive, masses, q, band, frequency
        As in :class:`Mode`; ``band`` is the requested one.
    vectors
        shape (3 n_prim, d), complex: orthonormal eigenvectors, in the phase convention of a Mode.
    """

    primitive: Structure
    masses: FloatArray
    q: FloatArray
    band: int
    frequency: float
    vectors: NDArray[np.complex128]

    def mode(
        self,
        vector: NDArray[np.complex128],
        direction: str | None = None,
        irrep: str | None = None,
        complete: bool = True,
    ) -> Mode:
        """Return one mode of the space.

        Parameters
        ----------
        vector
            shape (3 n_prim,), of norm 1.
        direction, irrep, complete
            As in :class:`Mode`.
        """
        return Mode(
            primitive=self.primitive,
            masses=self.masses,
            q=self.q,
            band=self.band,
            frequency=self.frequency,
            eigenvector=vector.reshape(-1, 3).astype(complex),
            direction=direction,
            irrep=irrep,
            complete=complete,
        )


def softest_mode(document: PhononDocument, tolerance: float) -> tuple[FloatArray, int]:
    """Return q and band of the softest mode at the commensurate points, acoustic ones left out.

    Among modes within ``tolerance`` (THz) of the softest, the one nearest to Γ; only the acoustic
    modes at Γ itself do not count.
    """
    arrays = document.data.arrays()
    q = arrays["commensurate_q"]
    masked = without_acoustic(q, arrays["commensurate_frequencies"])
    row = int(np.flatnonzero(masked.min(axis=1) <= masked.min() + tolerance)[0])
    return np.asarray(q[row]), int(np.argmin(masked[row]))


def mode_space(
    document: PhononDocument, q: FloatArray, band: int | None, tolerance: float
) -> ModeSpace:
    """Return the degenerate space of a mode.

    Parameters
    ----------
    document
        Force constants and cells.
    q
        shape (3,), in reciprocal vectors of the primitive cell.
    band
        Band index; None takes the softest that is not acoustic at Γ.
    tolerance
        Frequencies closer than this (THz) are degenerate.

    Raises
    ------
    InputError
        No such band.
    """
    phonon = phonopy_of(document, symmetry=False)
    found = phonon.run_qpoints([q], with_eigenvectors=True)
    frequencies, vectors = found.frequencies[0], found.eigenvectors[0]
    optical = without_acoustic(np.atleast_2d(q), frequencies[None])[0]
    chosen = int(np.argmin(optical)) if band is None else band
    if not 0 <= chosen < len(frequencies) or not np.isfinite(optical[chosen]):
        raise InputError(
            f"Band {chosen} at q = {np.round(q, 4).tolist()} is acoustic at Γ or does not exist; "
            f"there are bands 0 to {len(frequencies) - 1}."
        )
    return ModeSpace(
        primitive=to_structure(phonon.primitive),
        masses=np.array(phonon.primitive.masses),
        q=np.asarray(q, dtype=float),
        band=chosen,
        frequency=float(frequencies[chosen]),
        vectors=vectors[:, np.abs(optical - optical[chosen]) < tolerance].astype(complex),
    )


def mode_of(document: PhononDocument, q: FloatArray, band: int | None, tolerance: float) -> Mode:
    """Return a mode whose direction in a degenerate space depends on the crystal, not on the solver.

    The Cartesian displacement (atom i, axis a) with the longest projection on the space, the first
    of equals, is projected and normalised.

    Parameters
    ----------
    document
        Force constants and cells.
    q
        shape (3,), in reciprocal vectors of the primitive cell.
    band
        Band index; None takes the softest that is not acoustic at Γ.
    tolerance
        Frequencies closer than this (THz) are degenerate.

    Raises
    ------
    InputError
        No such band.
    """
    return longest_projection(mode_space(document, q, band, tolerance))


def longest_projection(space: ModeSpace) -> Mode:
    """Return the longest projection of the displacement of one atom along one axis on a space."""
    projector = space.vectors @ space.vectors.conj().T
    lengths = np.real(np.diag(projector))
    axis = int(np.flatnonzero(lengths > lengths.max() * (1 - 1e-4))[0])
    vector = projector[:, axis] / np.sqrt(lengths[axis])
    if is_gamma(np.atleast_2d(space.q))[0]:
        vector = vector.real / np.linalg.norm(vector.real)
    return space.mode(vector)


def displacement_pattern(mode: Mode, supercell: Structure, formula_units: int) -> FloatArray:
    """Return the real displacement of each atom at unit amplitude Q.

    A mode with a ``direction`` keeps its phase. Otherwise the phase is the one that makes the real
    displacements longest (the standing wave of largest norm); where all are equal, the one that brings the
    first atom of largest motion to its crest. Q is normalised so that Q² = Σ m u² / formula units:
    E per formula unit is ½ω²Q².

    Parameters
    ----------
    mode
        The mode.
    supercell
        Commensurate with q, site by site (:func:`~phonotune.physics.supercell.make_supercell`).
    formula_units
        Formula units in the supercell.

    Returns
    -------
    shape (n_super, 3), Å per Å·sqrt(amu).
    """
    repeats = len(supercell) // len(mode.primitive)
    x = mode.primitive.lattice.get_fractional_coords(supercell.cart_coords)
    wave = np.repeat(mode.eigenvector, repeats, axis=0) * np.exp(2j * np.pi * (x @ mode.q))[:, None]
    if not mode.direction:  # the phase that makes the real part longest
        square = np.sum(wave**2)
        if abs(square) > 1e-6 * np.sum(np.abs(wave) ** 2):
            wave = wave * np.exp(-0.5j * np.angle(square))
        else:
            size = np.abs(wave)
            crest = np.unravel_index(np.argmax(size > size.max() * (1 - 1e-4)), wave.shape)
            wave = wave * np.exp(-1j * np.angle(wave[crest]))
    real = wave.real
    largest = np.argmax(np.abs(real) > np.abs(real).max() * (1 - 1e-4))
    real = real * np.sign(real.ravel()[largest])
    pattern = real / np.sqrt(np.repeat(mode.masses, repeats))[:, None]
    return np.asarray(pattern * np.sqrt(formula_units / np.sum(real**2)))
