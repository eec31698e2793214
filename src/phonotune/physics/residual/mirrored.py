"""Mirrored frames: two cells with opposite displacements, whose forces separate the harmonic part.

Forces are a series in the displacements, F(u) = F₀ - Φu + O(u²) + O(u³). In half the difference of
F(u) and F(-u) all even orders cancel: F₀ and the cubic anharmonicity, the largest error of a harmonic fit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.spatial.distance import cdist

from phonotune.ports import FloatArray, IntArray

_TOLERANCE: Final = 1e-4
"""Å: displacements are opposite if no atom deviates by more; files store about 1e-7."""
ANHARMONIC_LENGTH: Final = 0.5
"""Å: each order of the series is smaller than the one before by about displacement / length."""
_THIRD_ORDER_LENGTH: Final = 0.18
"""Å: root mean square displacement at which forces of third order equal those of second."""
_ALIKE: Final = 0.6
"""Share of the squares of third-order forces that force constants can take for their own."""


@dataclass(frozen=True, eq=False)
class OddParts:
    """Frames with every mirrored pair folded into its odd part; a single frame is not changed.

    Attributes
    ----------
    first
        shape (n_parts,), index of the frame, or of the first of a pair.
    second
        shape (n_parts,), index of the second of a pair; that of the first for a single frame.
    """

    first: IntArray
    second: IntArray

    @classmethod
    def find(cls, displacements: FloatArray) -> OddParts:
        """Pair the frames whose displacements are opposite.

        Parameters
        ----------
        displacements
            shape (n_frames, n_atoms, 3), Å. A shift of a whole frame does not matter.
        """
        still = displacements - displacements.mean(axis=1, keepdims=True)
        flat = still.reshape(len(still), -1)
        apart = cdist(flat, -flat, "chebyshev")
        first, second, left = [], [], list(range(len(flat)))
        while left:
            frame = left.pop(0)
            partner = min(left, key=lambda other: apart[frame, other], default=frame)
            if partner != frame and apart[frame, partner] <= _TOLERANCE:
                left.remove(partner)
            else:
                partner = frame
            first.append(frame)
            second.append(partner)
        return cls(np.array(first, dtype=np.int64), np.array(second, dtype=np.int64))

    def __len__(self) -> int:
        return len(self.first)

    @property
    def is_pair(self) -> FloatArray:
        """Whether each part is a pair, shape (n_parts,)."""
        return np.asarray(self.first != self.second)

    def fold(self, values: FloatArray) -> FloatArray:
        """Return half the difference of each pair, and single frames unchanged.

        Parameters
        ----------
        values
            shape (n_frames, ...).

        Returns
        -------
        shape (n_parts, ...).
        """
        pair = self.is_pair.reshape(-1, *[1] * (values.ndim - 1))
        ones = values[self.first]
        return np.asarray(np.where(pair, 0.5 * (ones - values[self.second]), ones))

    def amplitudes(self, displacements: FloatArray) -> FloatArray:
        """Return the root mean square displacement of each part, shape (n_parts,), Å."""
        odd = self.fold(displacements)
        odd = odd - odd.mean(axis=1, keepdims=True)
        return np.asarray(np.sqrt(np.mean(np.sum(odd**2, axis=2), axis=1)))

    def weights(self, displacements: FloatArray, harmonic_amplitude: float) -> FloatArray:
        """Return the weight of each part, shape (n_parts,): an inverse variance.

        In units of the noise of a label, a single frame has the variance 1 + (u/h)⁴ at the root mean square
        displacement u, since the anharmonic part is of second order; h is the given amplitude. A pair has half
        the noise, and a third-order part that is smaller than the second by u / 0.5 Å.

        Parameters
        ----------
        displacements
            shape (n_frames, n_atoms, 3), Å.
        harmonic_amplitude
            Å.
        """
        amplitude = self.amplitudes(displacements)
        second_order = (amplitude / harmonic_amplitude) ** 4
        third_order = second_order * (amplitude / ANHARMONIC_LENGTH) ** 2
        variance = np.where(self.is_pair, 0.5 + third_order, 1.0 + second_order)
        return np.asarray(1.0 / variance)

    def biases(self, displacements: FloatArray) -> FloatArray:
        """Return the anharmonic error that force constants take for their own, shape (n_parts,).

        Forces of second order are noise to force constants and average out; those of third order partly look
        like force constants, the same in every frame. The result is the variance of that part in units of
        the variance that is left as noise: third order alone in mirrored frames, growing with the square of
        the amplitude in others. Constants: errors of ``mini`` on six crystals labelled by ``teacher``
        (docs/performance.md).

        Parameters
        ----------
        displacements
            shape (n_frames, n_atoms, 3), Å.
        """
        squares = self.amplitudes(displacements) ** 2
        third_order = np.where(self.is_pair, 1.0, squares / (squares + _THIRD_ORDER_LENGTH**2))
        alike = _ALIKE * third_order
        return np.asarray(alike / (1.0 - alike))

    def least_noise(self, displacements: FloatArray) -> FloatArray:
        """Return the variance of the noise that amplitudes let expect, in units of that of the harmonic part.

        shape (n_parts,); one order of the series smaller, two in mirrored frames.
        """
        ratio = (self.amplitudes(displacements) / ANHARMONIC_LENGTH) ** 2
        return np.asarray(np.where(self.is_pair, ratio**2, ratio))
