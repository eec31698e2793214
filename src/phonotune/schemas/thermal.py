"""Thermal properties beyond one volume: the quasi-harmonic approximation, thermal conductivity."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from phonotune.schemas.base import Matrix3, Part, PropertyDocument
from phonotune.schemas.blob import Blob
from phonotune.units import (
    CubicAngstrom,
    Dimensionless,
    ElectronVoltPerAngstrom,
    GPa,
    JoulePerKelvinMole,
    Kelvin,
    MilliElectronVoltPerFormula,
    TeraHertz,
    Unit,
)

PerKelvin = Annotated[float, Unit("1/K")]
WattPerMeterKelvin = Annotated[float, Unit("W/m/K")]
Tensor3 = tuple[
    WattPerMeterKelvin,
    WattPerMeterKelvin,
    WattPerMeterKelvin,
    WattPerMeterKelvin,
    WattPerMeterKelvin,
    WattPerMeterKelvin,
]
"""Symmetric tensor, order xx yy zz yz xz xy, Cartesian axes of the cell given."""

Ions = Literal["symmetry", "relaxed", "scaled"]
"""Where the ions of a scaled cell are: held by symmetry, relaxed in that cell, or scaled with it."""


class QuasiHarmonicPoint(Part):
    """The crystal at one temperature and zero pressure; volumes and moles are of formula units."""

    temperature: Kelvin
    volume: CubicAngstrom
    length_scale: Dimensionless = Field(description="edge of the cell, in units of the cell given")
    bulk_modulus: GPa = Field(description="isothermal")
    thermal_expansion: PerKelvin = Field(description="of the volume; a third of it of a length")
    heat_capacity: JoulePerKelvinMole = Field(description="C_v at this volume")
    heat_capacity_pressure: JoulePerKelvinMole = Field(description="C_p")
    gruneisen: Dimensionless = Field(description="thermodynamic, α B V / C_v")


class QuasiHarmonicDocument(PropertyDocument):
    """Thermal expansion, C_p, B(T) and Grüneisen parameters from phonons at several volumes.

    The cell keeps its shape: of a crystal that is not cubic it is the expansion at fixed axial
    ratios. ``data`` arrays, per formula unit:

    ``volumes`` (n_v,) Å^3; ``static_energies`` (n_v,) eV; ``temperatures`` (n_t,) K, up to where the
    minimum leaves the range of volumes; ``free_energies`` (n_t, n_v) eV, static and vibrational;
    ``equilibrium_volumes`` Å^3, ``length_scales``, ``gibbs`` kJ/mol, ``bulk_moduli`` GPa,
    ``thermal_expansions`` 1/K, ``entropies``, ``heat_capacities`` (C_v) and
    ``heat_capacities_pressure`` (C_p) J/K/mol, ``gruneisen``: each (n_t,);
    ``mesh_q`` (n_q, 3), ``mesh_weights`` (n_q,), ``mesh_frequencies`` (n_q, n_m) THz and
    ``mode_gruneisen`` (n_q, n_m) at the volume of 300 K, 0 for modes that are left out.
    """

    kind: Literal["quasi_harmonic"] = "quasi_harmonic"
    n_structures: int
    supercell_matrix: Matrix3
    mesh: tuple[int, int, int]
    has_nac: bool
    ions: Ions = Field(description="held by symmetry, relaxed at each volume, or scaled with it")
    residual_force: ElectronVoltPerAngstrom = Field(
        description="largest force on an ion of an undisplaced cell; grows where ions are scaled"
    )
    formula_units: int = Field(description="formula units in the primitive cell")
    imaginary_threshold: TeraHertz = Field(description="a mode below this counts as imaginary")
    lowest_frequencies: tuple[TeraHertz, ...] = Field(
        description="one per volume, ascending volume"
    )
    static_volume: CubicAngstrom = Field(description="minimum of the energy without vibrations")
    static_bulk_modulus: GPa
    at_0: QuasiHarmonicPoint
    at_300: QuasiHarmonicPoint
    highest_temperature: Kelvin = Field(
        description="above it the free energy has no minimum in the range of volumes"
    )
    fit_residual: MilliElectronVoltPerFormula = Field(
        description="largest deviation of the fitted free energy, all volumes and temperatures"
    )
    mean_gruneisen: Dimensionless = Field(
        description="of the modes at 300 K, weighted by their heat capacities"
    )
    acoustic_gruneisen: Dimensionless = Field(
        description="root mean square over the three lowest branches, weighted likewise"
    )
    acoustic_debye_temperature: Kelvin = Field(
        description="second moment of the three lowest branches at the volume of 300 K"
    )
    slack_conductivity: WattPerMeterKelvin = Field(
        description="lattice thermal conductivity at 300 K by Slack's model"
    )
    data: Blob


class ConductivityDocument(PropertyDocument):
    """Lattice thermal conductivity from third-order force constants, relaxation-time approximation.

    ``data`` arrays: ``temperatures`` (n_t,) K; ``conductivity`` (n_t, 6) W/m/K, order xx yy zz yz xz
    xy; ``mesh_q`` (n_q, 3), ``mesh_weights`` (n_q,), ``mesh_frequencies`` (n_q, n_m) THz,
    ``group_velocities`` (n_q, n_m, 3) THz·Å; ``linewidths`` (n_q, n_m) THz, the imaginary part of
    the self-energy at 300 K (the lifetime is 1/(4π) of its inverse);
    ``tried_meshes`` (n, 3) and ``tried_conductivity`` (n,) W/m/K, mean at 300 K.
    """

    kind: Literal["conductivity"] = "conductivity"
    n_structures: int
    supercell_matrix: Matrix3 = Field(description="of the third order")
    harmonic_matrix: Matrix3 = Field(description="supercell of the second order")
    mesh: tuple[int, int, int]
    has_nac: bool
    has_isotopes: bool = Field(description="scattering by the natural isotopes is included")
    lowest_frequency: TeraHertz
    conductivity_300: Tensor3
    mean_conductivity_300: WattPerMeterKelvin = Field(description="a third of the trace")
    change: Dimensionless = Field(
        description="of the mean at 300 K, relative, by the last doubling of the mesh"
    )
    is_converged: bool = Field(description="that change is within the tolerance asked for")
    data: Blob
