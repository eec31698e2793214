"""Phonons of one crystal at temperatures, by the self-consistent harmonic approximation."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from pymatgen.core import Structure

from phonotune.schemas.base import Matrix3, Part, PropertyDocument, Vector3
from phonotune.schemas.blob import Blob
from phonotune.schemas.phonon import BandLabel
from phonotune.units import Kelvin, MilliElectronVoltPerAtom, TeraHertz


class SSCHAPoint(Part):
    """The crystal at one temperature; free energies count from the crystal at rest, without vibrations."""

    temperature: Kelvin
    is_converged: bool = Field(
        description="both changes below are within the tolerances of the settings"
    )
    is_stable: bool = Field(
        description="no mode at the commensurate points lies below settings.floor, and none of the "
        "mesh below the imaginary threshold"
    )
    free_energy: MilliElectronVoltPerAtom | None = Field(
        description="F_harm + <V - V_harm>; None of a crystal that is not stable"
    )
    free_energy_error: MilliElectronVoltPerAtom | None = Field(
        description="standard error of the average over the ensemble"
    )
    harmonic_free_energy: MilliElectronVoltPerAtom | None = Field(
        description="F_harm of the self-consistent force constants, on the mesh"
    )
    anharmonic_free_energy: MilliElectronVoltPerAtom | None = Field(description="<V - V_harm>")
    free_energy_change: MilliElectronVoltPerAtom = Field(
        description="by the last iteration, or by a fresh ensemble if that is larger"
    )
    frequency_change: TeraHertz = Field(
        description="root mean square over the commensurate points between the frequencies sampled and "
        "those fitted to the sample, or to a fresh ensemble if that is larger"
    )
    lowest_frequency: TeraHertz = Field(
        description="of the commensurate points and the mesh, without the acoustic modes at Γ"
    )
    highest_frequency: TeraHertz
    n_iterations: int
    n_structures: int = Field(description="displaced supercells of the last ensemble")
    n_evaluations: int

    @property
    def in_words(self) -> str:
        """Lowest mode and free energy, and what is wrong if anything is."""
        stable = "" if self.is_stable else ", unstable"
        converged = "" if self.is_converged else ", not converged"
        free = "" if self.free_energy is None else f", F {self.free_energy:.2f} meV/atom"
        return f"lowest mode {self.lowest_frequency:.2f} THz{free}{stable}{converged}"


class SSCHADocument(PropertyDocument):
    """Self-consistent harmonic phonons of one crystal at several temperatures, fixed cell and positions.

    ``data`` arrays, with n_t temperatures and n_prim atoms in the primitive cell: ``temperatures`` (n_t,) K;
    ``force_constants`` (n_t, n_prim, n_super, 3, 3) eV/Å^2, compact; ``commensurate_q`` (n_c, 3),
    ``commensurate_frequencies`` (n_t, n_c, 3 n_prim) THz; ``band_q`` (n_b, 3), ``band_distances`` (n_b,),
    ``band_segments`` (n_seg, 2), ``band_frequencies`` (n_t, n_b, 3 n_prim) THz; and ``harmonic_`` of the three
    that change with temperature; ``born``, ``dielectric``, ``nac_factor`` with NAC.
    """

    kind: Literal["sscha"] = "sscha"
    unitcell: Structure = Field(description="the cell given, in its own orientation")
    supercell_matrix: Matrix3
    primitive_matrix: tuple[Vector3, Vector3, Vector3] = Field(
        description="rows are the primitive vectors in units of the cell vectors"
    )
    has_nac: bool
    has_residual: bool = Field(description="residual force constants correct the potential")
    imaginary_threshold: TeraHertz = Field(description="a mode below this counts as imaginary")
    harmonic_lowest_frequency: TeraHertz
    points: list[SSCHAPoint] = Field(min_length=1, description="ascending temperature")
    band_labels: list[BandLabel]
    data: Blob

    @property
    def lowest_frequency(self) -> TeraHertz:
        """Lowest mode at the highest temperature."""
        return self.points[-1].lowest_frequency

    @property
    def is_converged(self) -> bool:
        """Whether every temperature converged."""
        return all(point.is_converged for point in self.points)

    @property
    def stabilises(self) -> tuple[Kelvin, Kelvin] | None:
        """Neighbouring temperatures: unstable at the first, stable from the second on; None without both.

        Unconverged temperatures are not stable ones here.
        """
        sound = [point.is_stable and point.is_converged for point in self.points]
        if not sound[-1] or all(sound):
            return None
        last = max(index for index, good in enumerate(sound) if not good)
        return self.points[last].temperature, self.points[last + 1].temperature

    @property
    def stability(self) -> str:
        """At which temperatures the crystal is stable, in words."""
        bracket = self.stabilises
        if bracket is not None:
            return f"stable above {bracket[0]:g} to {bracket[1]:g} K"
        low, high = self.points[0].temperature, self.points[-1].temperature
        at = f"at {low:g} K" if low == high else f"at {low:g} to {high:g} K"
        if all(point.is_stable for point in self.points):
            return f"stable {at}" + ("" if self.is_converged else ", not converged")
        return f"not stable at {high:g} K"

    @property
    def in_words(self) -> str:
        """What `results` shows."""
        top = self.points[-1]
        return (
            f"{self.stability}, lowest mode {top.lowest_frequency:.2f} THz at {top.temperature:g} K"
        )
