"""The X-mode double well of CaF2 on GFN1-xTB: an electronic-structure method, not a fitted surface.

    python benchmarks/wells_xtb.py [--lattice 5.46] [--amplitudes 9] [--displacement 0.8] [--threads 2]

tblite samples Γ only, so that every cell is repeated to 96 atoms before it is evaluated, and energy and
forces are those of one repetition. Needs the extra ``xtb``.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence

import numpy as np
from pymatgen.core import Lattice, Structure
from xtb import GFN1

from phonotune.physics.phonon.displacements import analyse_forces, plan_displacements
from phonotune.physics.phonon.settings import PhononSettings
from phonotune.physics.supercell import lattice_translations
from phonotune.physics.wells.double_well import WellSettings, analyse_well, plan_well
from phonotune.ports import Evaluation
from phonotune.schemas.base import Source

DOUBLED = ((2, 0, 0), (0, 2, 0), (0, 0, 2))
X = (0.5, 0.5, 0.0)


class Repeated:
    """GFN1-xTB on the cell of ``lattice`` that every structure is repeated to."""

    def __init__(self, lattice: Lattice) -> None:
        self.lattice = lattice
        self.method = GFN1()

    def __call__(self, structures: Sequence[Structure]) -> list[Evaluation]:
        """Return energy and forces of each structure, of one repetition."""
        return [self._evaluate(structure) for structure in structures]

    def _evaluate(self, structure: Structure) -> Evaluation:
        rows = np.rint(self.lattice.matrix @ structure.lattice.inv_matrix).astype(int)
        shifts = lattice_translations(tuple(map(tuple, rows))) @ structure.lattice.matrix
        repeated = Structure(
            self.lattice,
            [site.specie for _ in shifts for site in structure],
            (structure.cart_coords[None] + shifts[:, None]).reshape(-1, 3),
            coords_are_cartesian=True,
        )
        [whole] = self.method([repeated])
        return Evaluation(energy=whole.energy / len(shifts), forces=whole.forces[: len(structure)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lattice", type=float, default=5.46, help="Å")
    parser.add_argument("--amplitudes", type=int, default=9)
    parser.add_argument("--displacement", type=float, default=0.8, help="Å")
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(given.threads)
    crystal = Structure.from_spacegroup(
        "Fm-3m", Lattice.cubic(given.lattice), ["Ca", "F"], [[0, 0, 0], [0.25, 0.25, 0.25]]
    )
    evaluator = Repeated(Lattice(2 * crystal.lattice.matrix))
    source = Source(role="reference", evaluator="gfn1-xtb")

    plan = plan_displacements(crystal, PhononSettings(supercell_matrix=DOUBLED, mesh_density=20.0))
    print(f"{len(plan.structures)} displaced cells")
    phonons = analyse_forces(plan, evaluator(plan.structures), source)
    settings = WellSettings(
        q=X,
        directions=("all",),
        n_amplitudes=given.amplitudes,
        max_displacement=given.displacement,
    )
    wells = plan_well(crystal, phonons, settings)
    print(f"{len(wells.structures)} amplitudes in {len(wells.paths)} directions")
    document = analyse_well(wells, evaluator(wells.structures), source)

    print(f"lowest mode {phonons.lowest_frequency:.2f} THz; at X {document.mode_frequency:.2f} THz")
    for part in document.directions:
        open_end = "" if part.minimum_in_range else " at least"
        print(
            f"{part.direction} {document.irrep}: depth{open_end} {part.depth:.2f} meV/f.u. at Q0 = "
            f"{part.q0:.3f} Å·sqrt(amu), curvature {part.curvature_frequency:.2f} THz, "
            f"misfit {part.fit_residual:.3f} meV/f.u."
        )
        print(f"levels (THz): {', '.join(f'{level:.3f}' for level in part.levels)}")
    print(f"{len(evaluator.method.seconds)} evaluations, {sum(evaluator.method.seconds):.0f} s")


if __name__ == "__main__":
    main()
