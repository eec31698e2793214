from collections.abc import Callable

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from phonotune.schemas.dataset import Frame


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.fixture
def rocksalt() -> Structure:
    return Structure.from_spacegroup(
        "Fm-3m", Lattice.cubic(5.69), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]
    )


@pytest.fixture
def make_frame(rocksalt: Structure, rng: np.random.Generator) -> Callable[..., Frame]:
    """Return a maker of frames with awkward numbers; keywords replace what the frame holds."""

    def make(**changes: object) -> Frame:
        structure = rocksalt.copy()
        structure.translate_sites(
            range(len(structure)), rng.normal(scale=0.005, size=3), to_unit_cell=False
        )
        structure.perturb(0.02, seed=int(rng.integers(2**31)))
        half = rng.normal(size=(3, 3)) / 300
        parts = {
            "structure": structure,
            "energy": float(rng.normal()) * 1e3 / 3,
            "forces": rng.normal(size=(len(structure), 3)) * 10.0 ** rng.integers(-9, 2),
            "stress": half + half.T,
            "group": "volume -2.5 %",
            "origin": "disp-001/vasprun.xml",
        }
        return Frame(**{**parts, **changes})

    return make
