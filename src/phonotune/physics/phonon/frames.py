"""Labelled frames from phonopy's own files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from phonotune.errors import FramesError
from phonotune.physics.phonon.calculation import PhonopyCalculation, read_calculation
from phonotune.physics.supercell import displaced
from phonotune.schemas.dataset import Frame


def read_displacement_frames(path: Path, name: str) -> list[Frame]:
    """Read the displaced supercells and forces of a phonopy calculation.

    Parameters
    ----------
    path
        As :func:`~phonotune.physics.phonon.calculation.read_calculation`.
    name
        The file in groups and origins.

    Raises
    ------
    FramesError
        Not phonopy's files, or no forces in them.
    """
    return displacement_frames(read_calculation(path), name)


def displacement_frames(found: PhonopyCalculation, name: str) -> list[Frame]:
    """Return the displaced supercells and forces of what phonopy's files hold.

    Random displacements are one group each. The symmetry-reduced displacements of one crystal are a single
    group, since a displacement and its opposite have nearly the same forces. Energies are those that
    phonopy stored in its yaml; for VASP that is energy(sigma->0), equal to the free energy for an insulator.
    FORCE_SETS has none. There is no stress.

    Parameters
    ----------
    found
        What was read.
    name
        The file in groups and origins.

    Raises
    ------
    FramesError
        There are no forces.
    """
    sites, dataset = found.supercell, found.dataset
    if dataset is None:
        if found.force_constants is not None:
            raise FramesError(
                f"{name} holds force constants and no forces, so that it gives no frames; it is a reference "
                "for `phonotune compare`."
            )
        if found.n_planned:
            raise FramesError(
                f"{name} holds {found.n_planned} displacements without forces, and there is no FORCE_SETS "
                "beside it; let phonopy collect them first, or import the calculations themselves."
            )
        raise FramesError(
            f"{name} holds no displaced supercell; a phonopy_params.yaml with displacements and "
            "forces is needed."
        )
    frames = []
    if "first_atoms" in dataset:
        for number, entry in enumerate(dataset["first_atoms"], start=1):
            moves = np.zeros((len(sites), 3))
            moves[entry["number"]] = entry["displacement"]
            energy = entry.get("supercell_energy")
            frames.append(
                Frame(
                    displaced(sites, moves),
                    energy=None if energy is None else float(energy),
                    forces=entry["forces"],
                    group=name,
                    origin=f"{name} displacement {number}",
                )
            )
        return frames
    energies = dataset.get("supercell_energies")
    for i, moves in enumerate(dataset["displacements"]):
        origin = f"{name} displacement {i + 1}"
        energy = None if energies is None else float(energies[i])
        frames.append(
            Frame(
                displaced(sites, moves), energy, dataset["forces"][i], group=origin, origin=origin
            )
        )
    return frames
