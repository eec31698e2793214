"""What a labelled frame must fulfil before anything is trained on it or fitted to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from phonotune.errors import FramesError, StructureError
from phonotune.physics.supercell import check_structure

if TYPE_CHECKING:
    from phonotune.ports import FloatArray
    from phonotune.schemas.dataset import Frame

STRESS_ASYMMETRY: Final = 1e-4
"""eV/Å^3: a stress less symmetric than this was written in another order of its numbers."""


def check_frame(frame: Frame, where: str) -> None:
    """Check one frame: its structure, and shape and finiteness of every label it has.

    Parameters
    ----------
    frame
        The frame; missing labels are fine.
    where
        Named in the message, e.g. ``"nacl.extxyz, frame 3"``.

    Raises
    ------
    FramesError
        NaN or infinity, atoms closer than 0.5 Å, a label of the wrong shape, an asymmetric stress.
    """
    try:
        check_structure(frame.structure)
    except StructureError as error:
        raise FramesError(f"{where}: {error}") from error
    if frame.energy is not None and not np.isfinite(frame.energy):
        raise FramesError(
            f"{where}: the energy is {frame.energy}; a finite number of eV is needed. "
            "Leave the label out if the calculation failed."
        )
    if frame.forces is not None:
        _check_array(frame.forces, "forces", (len(frame.structure), 3), where)
    if frame.magmoms is not None:
        _check_array(frame.magmoms, "magmoms", (len(frame.structure),), where)
    if frame.stress is not None:
        _check_array(frame.stress, "stress", (3, 3), where)
        asymmetry = float(np.abs(frame.stress - frame.stress.T).max())
        if asymmetry > STRESS_ASYMMETRY:
            raise FramesError(
                f"{where}: the stress is not symmetric (off by {asymmetry:.2g} eV/Å^3); "
                "nine numbers, row by row, in eV/Å^3 are needed."
            )


def _check_array(values: FloatArray, name: str, shape: tuple[int, ...], where: str) -> None:
    if values.shape != shape:
        raise FramesError(
            f"{where}: {name} have shape {values.shape}; {shape} is needed (one row per atom "
            "for forces, one number for magnetic moments, 3 by 3 for a stress)."
        )
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        place = f"atom {bad[0][0] + 1}" if name != "stress" else f"row {bad[0][0] + 1}"
        raise FramesError(
            f"{where}: {name} hold NaN or infinity (first at {place}, {len(bad)} of "
            f"{values.size} numbers). Remove the frame or label it again."
        )
