"""GFN1-xTB as an evaluator: an electronic-structure method, not a fitted surface. Needs the extra ``xtb``."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter

from pymatgen.core import Structure

from phonotune.ports import Evaluation


class GFN1:
    """Energy, forces and stress of structures as they are; tblite samples Γ only, so cells must be large."""

    def __init__(self) -> None:
        from tblite.ase import TBLite

        self.calculator = TBLite(method="GFN1-xTB", verbosity=0)
        self.seconds: list[float] = []

    def __call__(self, structures: Sequence[Structure]) -> list[Evaluation]:
        """Answer structures one by one."""
        return [self._evaluate(structure) for structure in structures]

    def _evaluate(self, structure: Structure) -> Evaluation:
        atoms = structure.to_ase_atoms()
        atoms.calc = self.calculator
        begun = perf_counter()
        energy = float(atoms.get_potential_energy())
        forces, stress = atoms.get_forces(), atoms.get_stress(voigt=False)
        self.seconds.append(perf_counter() - begun)
        print(f"  {len(atoms)} atoms, {self.seconds[-1]:.1f} s", flush=True)
        return Evaluation(energy=energy, forces=forces, stress=stress)
