"""Phonons at a temperature: the self-consistent harmonic approximation, by random displacements.

Of all harmonic crystals with the given positions and symmetry, that with the lowest
F = F_harm(Φ) + <V - V_harm> is found (Hooton, Philos. Mag. 46, 422 (1955); Errea, Calandra and Mauri,
PRB 89, 064302 (2014)); the average is over the displacements of that harmonic crystal itself. At the minimum
Φ = <∂²V/∂u∂u>, which is what a least-squares fit of the forces on such displacements gives.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from phonopy import Phonopy
from phonopy.harmonic.force_constants import compact_fc_to_full_fc
from phonopy.phonon.random_displacements import RandomDisplacements
from pydantic import Field, field_validator
from pymatgen.core import Structure
from scipy import constants

from phonotune.chunks import chunked
from phonotune.errors import ConfigError
from phonotune.physics.answer_checks import require_answers
from phonotune.physics.phonon.cells import build_phonopy, to_structure
from phonotune.physics.phonon.document import (
    analyse_force_constants,
    born_of,
    phonopy_of,
)
from phonotune.physics.phonon.residual_fit import force_constant_basis
from phonotune.physics.phonon.settings import PhononSettings
from phonotune.physics.phonon.spectrum import commensurate_points, is_gamma, without_acoustic
from phonotune.physics.residual.basis import ForceConstantBasis
from phonotune.physics.thermal import thermal_curves
from phonotune.ports import Evaluate, FloatArray
from phonotune.progress import Progress
from phonotune.schemas.base import Part
from phonotune.schemas.blob import Blob
from phonotune.schemas.masses import with_natural_masses
from phonotune.schemas.phonon import PhononDocument
from phonotune.schemas.sscha import SSCHADocument, SSCHAPoint
from phonotune.units import Kelvin, MilliElectronVoltPerAtom, TeraHertz

_IGNORED: Final = 1e-3
"""THz; phonopy leaves out modes below it, here only the three translations."""
_KJ_PER_MOL: Final = 1e3 / (constants.N_A * constants.e)
"""eV."""
_MIX: Final = 0.5
_LEAST_MIX: Final = 0.05
_ROWS: Final = 30_000
"""Rows of a design matrix in memory at a time."""


class SSCHASettings(Part):
    """How phonons at temperatures are computed."""

    phonons: PhononSettings = PhononSettings()
    temperatures: tuple[Kelvin, ...] = Field(default=(0.0, 150.0, 300.0, 600.0, 900.0))
    n_structures: int = Field(
        default=64,
        ge=4,
        multiple_of=2,
        description="displaced supercells of the first ensemble, in pairs u and -u; doubled until a "
        "fresh ensemble agrees",
    )
    max_structures: int = Field(default=1024, ge=4, description="of an ensemble, at most")
    max_iterations: int = Field(default=30, ge=2, description="per temperature and ensemble size")
    free_energy_tolerance: MilliElectronVoltPerAtom = Field(
        default=0.1, gt=0, description="change of F by the last iteration, and by a fresh ensemble"
    )
    frequency_tolerance: TeraHertz = Field(
        default=0.05,
        gt=0,
        description="root mean square over the commensurate points between the frequencies sampled "
        "and those fitted to the sample, and to a fresh ensemble",
    )
    floor: TeraHertz = Field(
        default=0.3,
        gt=0,
        description="no mode is given a larger amplitude than one of this frequency has; a crystal "
        "with a mode below it is unstable at that temperature. Half the lowest harmonic frequency where "
        "that is real and lower",
    )
    seed: int = Field(default=0, ge=0)

    @field_validator("temperatures", mode="before")
    @classmethod
    def _sorted(cls, given: Iterable[float]) -> tuple[float, ...]:
        values = [float(value) for value in given]
        if not values or not all(np.isfinite(t) and t >= 0.0 for t in values):
            found = ", ".join(f"{t:g}" for t in values) or "none"
            raise ConfigError(
                f"Temperatures of phonons are in K, at least one and none below 0; found {found}. Give for "
                "example --temperatures 0,300,600."
            )
        return tuple(sorted(set(values)))


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Displaced supercells of a harmonic crystal, and what the potential says of them.

    Attributes
    ----------
    fitted
        shape (n_prim, n_super, 3, 3), eV/Å^2: force constants of the forces, <∂²V/∂u∂u>.
    anharmonic
        shape (n_pairs,), eV per supercell: V - V_harm, the mean of a pair u and -u.
    """

    fitted: FloatArray
    anharmonic: FloatArray

    @property
    def mean(self) -> float:
        """<V - V_harm>, eV per supercell."""
        return float(self.anharmonic.mean())

    @property
    def error(self) -> float:
        """Standard error of the mean, eV per supercell."""
        return float(self.anharmonic.std(ddof=1) / np.sqrt(len(self.anharmonic)))


@dataclass(frozen=True, eq=False)
class SelfConsistent:
    """The self-consistent harmonic crystal of one temperature.

    Attributes
    ----------
    force_constants
        shape (n_prim, n_super, 3, 3), eV/Å^2, those from which the last two ensembles were drawn.
    fresh
        The last ensemble, by whose displacements nothing was fitted.
    free_energy_change
        meV/atom, by the last iteration or by the fresh ensemble, the larger one.
    frequency_change
        THz, root mean square, likewise.
    lowest
        THz, lowest mode at the commensurate points.
    converged
        Whether both are within the tolerances.
    n_iterations, n_structures, n_evaluations
        Iterations, displaced supercells of an ensemble, and evaluations in all.
    """

    force_constants: FloatArray
    fresh: Ensemble
    free_energy_change: float
    frequency_change: float
    lowest: float
    converged: bool
    n_iterations: int
    n_structures: int
    n_evaluations: int


class AnharmonicCrystal:
    """A potential around the sites of a supercell: harmonic phonons, ΔΦ, and the fit of force constants.

    Parameters
    ----------
    harmonic
        Phonons of the potential; ΔΦ, if they hold any, is added to it.
    evaluate
        The potential.

    Raises
    ------
    LabelError
        The answer to the undisplaced supercell is not finite.
    """

    def __init__(self, harmonic: PhononDocument, evaluate: Evaluate) -> None:
        phonon = phonopy_of(harmonic)
        phonon.nac_params = (
            None  # the field of an infinite wave has no place in a periodic supercell
        )
        self.phonon: Phonopy = phonon
        self.cell = with_natural_masses(to_structure(phonon.supercell))
        self.q = commensurate_points(phonon)
        self.n_atoms = len(self.cell)
        self.n_cells = self.n_atoms // len(phonon.primitive)
        self.evaluate = evaluate
        arrays = harmonic.data.arrays()
        self.harmonic = np.array(arrays["force_constants"])
        self._correction: FloatArray | None = None
        if harmonic.residual is not None:
            self._correction = self._square(self.harmonic - arrays["force_constants_model"])
        self._basis: ForceConstantBasis = force_constant_basis(phonon)
        self._p2s = phonon.primitive.p2s_map
        (self._static,) = self._answers([self.cell])

    def frequencies(self, force_constants: FloatArray) -> FloatArray:
        """Return frequencies at the commensurate points, (n_c, 3 n_prim), THz, negative if imaginary."""
        phonon = copy(self.phonon)
        phonon.force_constants = force_constants
        return np.array(phonon.run_qpoints(self.q).frequencies)

    def lowest(self, force_constants: FloatArray) -> float:
        """Return the lowest frequency at the commensurate points, without the translations, THz."""
        return float(without_acoustic(self.q, self.frequencies(force_constants)).min())

    def harmonic_free_energy(self, force_constants: FloatArray, temperature: float) -> float:
        """Return F_harm of the modes at the commensurate points, eV per supercell."""
        nu = self.frequencies(force_constants)
        curve = thermal_curves(np.abs(nu), np.ones(len(nu)), [temperature], 1)
        return float(curve.helmholtz[0] * _KJ_PER_MOL * self.n_cells)

    def sample(
        self, force_constants: FloatArray, temperature: float, n: int, seed: int, floor: float
    ) -> Ensemble:
        """Draw and evaluate displacements of a harmonic crystal, quantum statistics.

        Parameters
        ----------
        force_constants
            Compact, eV/Å^2.
        temperature
            K.
        n
            Displaced supercells, in pairs u and -u, which cancel what is odd in the energy.
        seed
            The same seed draws the same random numbers, so that close force constants give close
            displacements.
        floor
            THz; amplitudes are those of frequencies max(|ω|, floor).
        """
        draws: Any = RandomDisplacements(
            self.phonon.supercell, self.phonon.primitive, force_constants, cutoff_frequency=_IGNORED
        )
        found = np.array(draws.frequencies)
        bounded = np.maximum(np.abs(found), floor)
        for row in np.flatnonzero(is_gamma(np.array(draws.qpoints))):
            bounded[row, np.argsort(np.abs(found[row]))[:3]] = 0.0
        draws.frequencies = bounded
        draws.run(temperature, n // 2, random_seed=seed)
        moves = np.array(draws.u)
        energies, forces = [], []
        for sign in (1.0, -1.0):
            answers = self._answers([self._displaced(sign * u) for u in moves])
            energies.append(np.array([a.energy - self._static.energy for a in answers]))
            forces.append(np.array([a.forces for a in answers]))
        odd, potential = (forces[0] - forces[1]) / 2, (energies[0] + energies[1]) / 2
        flat = moves.reshape(len(moves), -1)
        if self._correction is not None:
            odd -= (flat @ self._correction).reshape(odd.shape)
            potential += np.einsum("ni,ij,nj->n", flat, self._correction, flat) / 2
        harmonic = np.einsum("ni,ij,nj->n", flat, self._square(force_constants), flat) / 2
        return Ensemble(self._fit(moves, odd), potential - harmonic)

    def _displaced(self, move: FloatArray) -> Structure:
        positions = self.cell.cart_coords + move
        return Structure(self.cell.lattice, self.cell.species, positions, coords_are_cartesian=True)

    def _answers(self, structures: Sequence[Structure]) -> list[Any]:
        found = require_answers(structures, self.evaluate(structures), "Phonons at a temperature")
        return list(found)

    def _fit(self, moves: FloatArray, forces: FloatArray) -> FloatArray:
        """Return the symmetric force constants that give these forces best, by the normal equations."""
        gram: Any = 0.0
        right: Any = 0.0
        pairs = list(zip(moves, forces, strict=True))
        for some in chunked(pairs, size=lambda pair: pair[0].size, limit=_ROWS):
            design = self._basis.design(np.array([move for move, _ in some]))
            gram = gram + design.T @ design
            right = right + design.T @ np.concatenate([force.ravel() for _, force in some])
        coefficients = np.linalg.lstsq(gram, right, rcond=1e-10)[0]
        return self._basis.expand(coefficients, self._p2s)

    def _square(self, compact: FloatArray) -> FloatArray:
        """Return compact force constants as a matrix, shape (3 n_super, 3 n_super)."""
        full = compact_fc_to_full_fc(self.phonon.primitive, np.ascontiguousarray(compact))
        return np.asarray(np.swapaxes(full, 1, 2).reshape(3 * self.n_atoms, 3 * self.n_atoms))


def self_consistent(
    crystal: AnharmonicCrystal, temperature: float, start: FloatArray, settings: SSCHASettings
) -> SelfConsistent:
    """Return the self-consistent harmonic crystal of one temperature.

    Φ is moved part of the way to the fitted one, a smaller part where the change grows: soft modes of
    strongly anharmonic crystals oscillate else. All iterations of one size draw the same random numbers, so
    that they converge; a fresh ensemble of the result then shows what that choice has done. If it disagrees,
    the ensemble is doubled.

    Parameters
    ----------
    crystal
        Potential and supercell.
    temperature
        K.
    start
        Force constants to begin with, compact.
    settings
        Sizes, tolerances, seed.

    Raises
    ------
    LabelError
        Forces or energies that are not finite.
    """
    current, n, count, evaluations = start, settings.n_structures, 0, 0
    milli = 1000.0 / crystal.n_atoms
    seeds = itertools.count(settings.seed)

    def drawn(seed: int) -> Ensemble:
        return crystal.sample(current, temperature, n, seed, settings.floor)

    while True:
        seed = next(seeds)
        mix, before, last, moved = _MIX, np.inf, np.inf, np.inf
        for _ in range(settings.max_iterations):
            ensemble = drawn(seed)
            count, evaluations = count + 1, evaluations + n
            nu = crystal.frequencies(current)
            change = _rms(crystal.frequencies(ensemble.fitted) - nu)
            free = crystal.harmonic_free_energy(current, temperature) + ensemble.mean
            moved, last = abs(free - last) * milli, free
            settled = (
                change <= settings.frequency_tolerance and moved <= settings.free_energy_tolerance
            )
            if settled:
                break
            mix = max(_LEAST_MIX, mix / 2) if change > before else mix
            before = change
            current = current + mix * (ensemble.fitted - current)
        fresh = drawn(next(seeds))
        evaluations += n
        other = _rms(crystal.frequencies(fresh.fitted) - crystal.frequencies(current))
        apart = abs(fresh.mean - ensemble.mean) * milli
        agrees = other <= settings.frequency_tolerance and apart <= settings.free_energy_tolerance
        if (settled and agrees) or 2 * n > settings.max_structures:
            return SelfConsistent(
                force_constants=current,
                fresh=fresh,
                free_energy_change=max(apart, moved),
                frequency_change=max(other, change),
                lowest=crystal.lowest(current),
                converged=settled and agrees,
                n_iterations=count,
                n_structures=n,
                n_evaluations=evaluations,
            )
        n *= 2
        current = (ensemble.fitted + fresh.fitted) / 2 if settled else current


def phonons_at_temperatures(
    harmonic: PhononDocument,
    evaluate: Evaluate,
    settings: SSCHASettings,
    progress: Progress | None = None,
) -> SSCHADocument:
    """Return the self-consistent phonons of a crystal, the highest temperature first.

    Parameters
    ----------
    harmonic
        Its harmonic phonons by the same potential, with ΔΦ and Born charges if there are any.
    evaluate
        The potential.
    settings
        Temperatures, sizes, tolerances.
    progress
        Told each temperature that is done.

    Raises
    ------
    LabelError
        Forces or energies that are not finite.
    """
    crystal = AnharmonicCrystal(harmonic, evaluate)
    start, found, progress = crystal.harmonic, [], progress or Progress()
    if 0.0 < (soft := crystal.lowest(start)) < settings.floor:  # soft, and yet real without heat
        settings = settings.model_copy(update={"floor": soft / 2.0})
    progress.start("temperatures", len(settings.temperatures))
    for temperature in reversed(settings.temperatures):
        solution = self_consistent(crystal, temperature, start, settings)
        start = solution.force_constants
        phonons = with_force_constants(harmonic, start)
        point = _point(solution, phonons, temperature, crystal, settings)
        progress.advance(text=f"temperatures, {temperature:g} K: {point.in_words}")
        found.append((point, phonons))
    found.reverse()
    points = [point for point, _ in found]
    arrays = [phonons.data.arrays() for _, phonons in found]
    known = harmonic.data.arrays()
    fixed = ("commensurate_q", "band_q", "band_distances", "band_segments")
    changing = ("force_constants", "commensurate_frequencies", "band_frequencies")
    optional = ("born", "dielectric", "nac_factor")
    return SSCHADocument(
        formula=harmonic.formula,
        material_id=harmonic.material_id,
        source=harmonic.source,
        settings=settings.model_dump(mode="json"),
        unitcell=harmonic.unitcell,
        supercell_matrix=harmonic.supercell_matrix,
        primitive_matrix=harmonic.primitive_matrix,
        has_nac=harmonic.has_nac,
        has_residual=harmonic.residual is not None,
        imaginary_threshold=harmonic.imaginary_threshold,
        harmonic_lowest_frequency=harmonic.lowest_frequency,
        points=points,
        band_labels=harmonic.band_labels,
        data=Blob.pack(
            temperatures=np.array(settings.temperatures),
            **{name: known[name] for name in (*fixed, *optional) if name in known},
            **{name: np.array([a[name] for a in arrays]) for name in changing},
            **{f"harmonic_{name}": known[name] for name in changing},
        ),
    )


def with_force_constants(harmonic: PhononDocument, force_constants: FloatArray) -> PhononDocument:
    """Return the phonons of other force constants of the same supercell, same mesh rules and NAC."""
    phonon = phonopy_of(harmonic)
    phonon.dataset = None
    phonon.force_constants = force_constants
    settings = PhononSettings.model_validate(harmonic.settings)
    return analyse_force_constants(
        phonon, harmonic.unitcell, settings, harmonic.source, born_of(harmonic)
    )


def phonons_at(document: SSCHADocument, index: int) -> PhononDocument:
    """Return the self-consistent phonons of one temperature as phonons, with mesh, DOS and bands.

    Parameters
    ----------
    document
        Phonons at temperatures.
    index
        Which of ``document.points``.
    """
    settings = SSCHASettings.model_validate(document.settings).phonons
    phonon = build_phonopy(
        document.unitcell, document.supercell_matrix, document.primitive_matrix, settings.symprec
    )
    phonon.force_constants = document.data.arrays()["force_constants"][index]
    return analyse_force_constants(
        phonon, document.unitcell, settings, document.source, born_of(document)
    )


def _point(
    solution: SelfConsistent,
    phonons: PhononDocument,
    temperature: float,
    crystal: AnharmonicCrystal,
    settings: SSCHASettings,
) -> SSCHAPoint:
    """Return the numbers of one temperature; F with the modes of the whole mesh, NAC included."""
    arrays, milli = phonons.data.arrays(), 1000.0 / crystal.n_atoms
    curve = thermal_curves(arrays["mesh_frequencies"], arrays["mesh_weights"], [temperature], 1)
    harmonic = float(curve.helmholtz[0]) * _KJ_PER_MOL * crystal.n_cells * milli
    anharmonic = solution.fresh.mean * milli
    stable = solution.lowest >= settings.floor and phonons.is_stable
    return SSCHAPoint(
        temperature=temperature,
        is_converged=solution.converged,
        is_stable=stable,
        free_energy=harmonic + anharmonic if stable else None,
        free_energy_error=solution.fresh.error * milli if stable else None,
        harmonic_free_energy=harmonic if stable else None,
        anharmonic_free_energy=anharmonic if stable else None,
        free_energy_change=solution.free_energy_change,
        frequency_change=solution.frequency_change,
        lowest_frequency=min(solution.lowest, phonons.lowest_frequency),
        highest_frequency=phonons.highest_frequency,
        n_iterations=solution.n_iterations,
        n_structures=solution.n_structures,
        n_evaluations=solution.n_evaluations,
    )


def _rms(values: FloatArray) -> float:
    return float(np.sqrt(np.mean(values**2)))
