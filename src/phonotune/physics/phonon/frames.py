"""Labelled frames from phonopy's own files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import yaml
from phonopy.interface.phonopy_yaml import read_phonopy_yaml

from phonotune.errors import FramesError
from phonotune.physics.phonon.cells import require_angstrom_and_ev, to_structure
from phonotune.physics.supercell import displaced
from phonotune.ports import FloatArray
from phonotune.schemas.dataset import Frame


def read_displacement_frames(path: Path, name: str) -> list[Frame]:
    """Read the displaced supercells and forces of a phonopy yaml file.

    Random displacements are one group each. The symmetry-reduced displacements of one crystal are a single
    group, since a displacement and its opposite have nearly the same forces. Energies are those that
    phonopy stored; for VASP that is energy(sigma->0), equal to the free energy for an insulator. There is
    no stress.

    Parameters
    ----------
    path
        ``phonopy_params.yaml`` or ``phonopy_disp.yaml`` with forces, plain or compressed (xz, gz,
        bz2).
    name
        The file in groups and origins.

    Raises
    ------
    FramesError
        Not phonopy's yaml, no supercell, no forces in it, units other than Å and eV/Å.
    """
    try:
        data = read_phonopy_yaml(path)
    except (yaml.YAMLError, OSError, EOFError, TypeError, ValueError, LookupError) as error:
        raise FramesError(f"{name} cannot be read as phonopy's yaml ({error}).") from error
    supercell = data.supercell
    if supercell is None or not data.dataset:
        raise FramesError(
            f"{name} holds no displaced supercell; a phonopy_params.yaml with displacements and "
            "forces is needed."
        )
    require_angstrom_and_ev(data, name)
    sites, dataset = to_structure(supercell), data.dataset
    frames = []
    if "first_atoms" in dataset:
        for number, entry in enumerate(dataset["first_atoms"], start=1):
            moves = np.zeros((len(sites), 3))
            moves[entry["number"]] = entry["displacement"]
            energy = entry.get("supercell_energy")
            frames.append(
                Frame(
                    displaced(sites, moves),
                    energy=None if energy is None else float(np.asarray(energy)),
                    forces=_forces(entry, name),
                    group=name,
                    origin=f"{name} displacement {number}",
                )
            )
        return frames
    forces, energies = _forces(dataset, name), dataset.get("supercell_energies")
    for i, moves in enumerate(np.asarray(dataset["displacements"], dtype=np.float64)):
        origin = f"{name} displacement {i + 1}"
        energy = None if energies is None else float(energies[i])
        frames.append(
            Frame(displaced(sites, moves), energy, forces[i], group=origin, origin=origin)
        )
    return frames


def _forces(entry: dict[str, Any], name: str) -> FloatArray:
    forces = entry.get("forces")
    if forces is None:
        raise FramesError(
            f"{name} holds displacements without forces; let phonopy collect them first, "
            "or import the calculations themselves."
        )
    return np.asarray(forces, dtype=np.float64)
