"""The fit of residual force constants to labelled frames, and what it knows of its own error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from phonopy import Phonopy
from pymatgen.core import Structure

from phonotune.physics.phonon.cells import build_phonopy, resolve_primitive, to_structure
from phonotune.physics.phonon.settings import PhononSettings
from phonotune.physics.residual.basis import ForceConstantBasis, site_forces
from phonotune.physics.residual.bonds import bond_forces
from phonotune.physics.residual.matching import MatchedFrames, ResidualSettings
from phonotune.physics.residual.mirrored import ANHARMONIC_LENGTH, OddParts
from phonotune.physics.residual.ridge import RidgeFit, fit_ridge, least_squares
from phonotune.physics.supercell import supercell_matrix
from phonotune.ports import FloatArray, IntArray
from phonotune.schemas.masses import with_natural_masses

_ENOUGH_FOR_PAIRS: Final = 2.0
"""Forces of the first frame of each pair per independent force constant. From here on a second frame gains
more by cancelling the cubic part than by a direction of its own."""
_ROUNDS: Final = 3
"""Fits in which frames are weighted by what the fit before left of them."""
_MOSTLY: Final = 0.9
"""Share of ΔΦ below which the result says that it was shrunk."""
_HARMONIC: Final = 0.05
"""Å: smaller displacements are as small as they need to be."""
_ENOUGH_FOR_ALL: Final = 1.5
"""Forces per independent force constant from which no further frame is asked for."""
_MOST_BLOCKS: Final = 8
_FEWEST_BLOCKS: Final = 3


@dataclass(frozen=True, eq=False)
class ResidualFit:
    """Residual force constants and the plain fit of the same frames.

    Attributes
    ----------
    basis
        Independent force constants of the supercell; those between distant atoms are kept small.
    ridge
        The fit of ΔΦ, coefficients in the basis.
    plain
        shape (n_prim, n_super, 3, 3), eV/Å^2, the plain symfc fit of the labels themselves.
    amplitudes
        shape (n_parts,), Å, root mean square displacement of each frame or mirrored pair.
    n_pairs
        Pairs of mirrored frames among the labelled ones.
    """

    basis: ForceConstantBasis
    ridge: RidgeFit
    plain: FloatArray
    amplitudes: FloatArray
    n_pairs: int

    @property
    def advice(self) -> str | None:
        """What to label for a better ΔΦ, in one line; None where nothing is lacking."""
        low, high = (f"{a:.2g}" for a in (self.amplitudes.min(), self.amplitudes.max()))
        frames = f"frames of {low} Å" if low == high else f"frames of {low} to {high} Å"
        kept = self.ridge.kept
        if kept < _MOSTLY:
            verdict = f"shrunk to {kept:.0%}" if kept > 0.0 else "left out"
            if self.amplitudes.min() <= _HARMONIC:
                return (
                    f"ΔΦ is {verdict}: {frames} show no harmonic error of the model that stands out "
                    f"from the {1000 * self.ridge.noise:.2g} meV/Å that no force constants explain."
                )
            return (
                f"ΔΦ is {verdict}: in {frames} the model's anharmonic error may look like a harmonic one. "
                "Label two frames in which every atom is displaced by 0.03 Å."
            )
        per_part = 3 * self.basis.n_atoms
        lacking = _ENOUGH_FOR_ALL * self.basis.n_parameters / per_part - len(self.amplitudes)
        if lacking > 0.0:
            return (
                f"{self.basis.n_parameters} force constants are many for {per_part} forces per frame: "
                f"label {int(np.ceil(lacking))} more, displaced at random by 0.03 Å."
            )
        return None

    def force_constants(self, phonon: Phonopy, coefficients: FloatArray) -> FloatArray:
        """Return coefficients as compact force constants, shape (n_prim, n_super, 3, 3), eV/Å^2."""
        return self.basis.expand(coefficients, phonon.primitive.p2s_map)

    def forces(self, sites: IntArray, vectors: FloatArray) -> FloatArray:
        """Return the forces of ΔΦ on supercells with one displaced atom each.

        Parameters
        ----------
        sites
            shape (n_d,), the displaced atom.
        vectors
            shape (n_d, 3), its displacement, Å.

        Returns
        -------
        shape (n_d, n_super, 3), eV/Å.
        """
        constants = self.basis.expand(self.ridge.coefficients, sites)
        return np.asarray(-np.einsum("djab,da->djb", constants, vectors))


def force_constant_basis(phonon: Phonopy) -> ForceConstantBasis:
    """Return the independent force constants of a supercell, by the symmetry that phonopy found."""
    symmetry = phonon.symmetry
    return ForceConstantBasis.find(
        to_structure(phonon.supercell), symmetry.symmetry_operations, symmetry.tolerance
    )


def pairs_suffice(structure: Structure, settings: PhononSettings, n_frames: int) -> bool:
    """Return whether mirrored pairs determine force constants better than single frames.

    They do if half of the frames have at least twice as many forces as there are independent force constants.
    At low symmetry, independent directions are needed first.

    Parameters
    ----------
    structure
        The crystal.
    settings
        Its phonons, whose supercell the frames have.
    n_frames
        Frames that will be labelled.
    """
    matrix = settings.supercell_matrix or supercell_matrix(
        structure, settings.min_length, settings.max_atoms
    )
    primitive = resolve_primitive(structure, settings.primitive_matrix, settings.symprec)
    elements = with_natural_masses(structure)
    phonon = build_phonopy(elements, matrix, primitive, settings.symprec)
    components = 3 * len(phonon.supercell)
    allowed = components * (n_frames // 2) / _ENOUGH_FOR_PAIRS
    # the least possible number first: without symmetry the basis of many atoms takes gigabytes
    if components**2 / (2 * len(phonon.symmetry.symmetry_operations["rotations"])) > allowed:
        return False
    return force_constant_basis(phonon).n_parameters <= allowed


def fit_residual(
    phonon: Phonopy, frames: MatchedFrames, model_forces: FloatArray, settings: ResidualSettings
) -> ResidualFit:
    """Fit ΔΦ to reference minus model forces, and Φ to the reference forces alone.

    Only the odd part of mirrored frames is fitted. Forces that symmetry allows at the undisplaced sites,
    of the model or of the reference, are fitted too but not kept, and so are those of second order of the
    bonds where a frame has no mirrored one. The strengths of the penalties are the most likely ones. Frames
    are weighted by what the fit leaves of them, at first by their amplitude. ΔΦ is shrunk by what the
    anharmonic error that is left may have made up, to none where that explains all of it or where frames
    left out are not predicted better.
    With a single frame, every eighth image of the primitive cell is left out (every third atom where
    nothing repeats): the remaining images determine the same force constants.

    Parameters
    ----------
    phonon
        Supercell and symmetry; its force constants are not used.
    frames
        Labelled frames of the supercell.
    model_forces
        shape (n_frames, n_super, 3), eV/Å, of the model at the same frames.
    settings
        Weights of the frames.
    """
    flat = force_constant_basis(phonon)
    free = flat.free_design(frames.displacements)
    plain = least_squares(flat.constrained(free), frames.forces.ravel())
    basis = flat.decaying(settings.decay_length)
    parts = OddParts.find(frames.displacements)

    primitive, group = phonon.primitive, phonon.primitive_symmetry.symmetry_operations
    allowed = site_forces(to_structure(primitive), group["rotations"], group["translations"])
    allowed = allowed[[primitive.p2p_map[site] for site in primitive.s2p_map]]
    allowed = allowed.reshape(3 * basis.n_atoms, -1)

    images = basis.images
    if len(parts) > 1:
        blocks = np.repeat(np.arange(len(parts)), basis.n_atoms)
    elif images.max() == 0:
        blocks = np.arange(basis.n_atoms) % _FEWEST_BLOCKS
    else:
        blocks = images % min(_MOST_BLOCKS, images.max() + 1)

    n, rows = len(frames), 3 * basis.n_atoms
    design = basis.constrained(np.concatenate(parts.fold(free.reshape(n, rows, -1))))
    bonds = bond_forces(
        to_structure(phonon.supercell),
        frames.displacements,
        settings.decay_length,
        ANHARMONIC_LENGTH,
    )
    data = parts.fold(frames.forces - model_forces).ravel()
    anharmonic = parts.fold(bonds.reshape(n, rows, -1))
    anharmonic[parts.is_pair] = 0.0  # cancelled; the fit would scale up what rounding leaves
    nuisance = np.concatenate(anharmonic)
    constant = np.concatenate(parts.fold(np.broadcast_to(allowed, (n, *allowed.shape))))
    lengths = np.sum(design.reshape(len(parts), -1) ** 2, axis=1)
    moves, amplitudes = frames.displacements, parts.amplitudes(frames.displacements)
    variances = 1.0 / parts.weights(moves, settings.harmonic_amplitude)
    for _ in range(_ROUNDS if len(parts) > 1 else 1):
        variances = variances * np.mean(1.0 / variances)
        least = parts.least_noise(moves) * lengths / rows / variances
        ridge = fit_ridge(
            design,
            data,
            np.repeat(blocks, 3),
            np.repeat(1.0 / variances, rows),
            constant,
            nuisance,
            float(np.exp(np.mean(np.log(least)))),
        )
        found = ridge.noise**2 * variances
        if len(parts) > 1:
            # no frame gains on the smallest: a common error hides in the larger ones
            smallest = amplitudes.argmin()
            variances = variances * np.maximum(ridge.block_noise, ridge.block_noise[smallest])
    biases = np.sqrt(parts.biases(moves) * found * rows / lengths)
    bias = float(np.average(biases, weights=lengths / found)) if ridge.noise > 0.0 else 0.0
    # small frames cannot be predicted from large ones alone
    ridge = ridge.shrunk(bias**2, bool(amplitudes.max() < 2.0 * amplitudes.min()))
    plain_constants = flat.expand(plain, phonon.primitive.p2s_map)
    return ResidualFit(basis, ridge, plain_constants, amplitudes, int(parts.is_pair.sum()))


def frequency_deviations(
    phonon: Phonopy,
    model: FloatArray,
    fit: ResidualFit,
    q: FloatArray,
    frequencies: FloatArray,
    settings: ResidualSettings,
) -> FloatArray:
    """Return the standard deviation of the frequencies by the fit, mean over the bands, THz.

    Parameters
    ----------
    phonon
        Supercell; its force constants are changed.
    model
        shape (n_prim, n_super, 3, 3), eV/Å^2, the force constants that ΔΦ corrects.
    fit
        The fit, from whose posterior distribution force constants are drawn.
    q
        shape (n_q, 3).
    frequencies
        shape (n_q, 3 n_prim), THz, of model + ΔΦ, ascending.
    settings
        Number and seed of the draws.

    Returns
    -------
    shape (n_q,).
    """
    rng, squares = np.random.default_rng(settings.seed), np.zeros_like(frequencies)
    for _ in range(settings.n_draws):
        phonon.force_constants = model + fit.force_constants(phonon, fit.ridge.draw(rng))
        drawn = phonon.run_qpoints(q).frequencies
        squares += (np.sort(drawn, axis=1) - frequencies) ** 2
    return np.asarray(np.sqrt(squares / settings.n_draws).mean(axis=1))
