"""GFN1-xTB as an evaluator: an electronic-structure method, not a fitted surface. Needs the extra ``xtb``."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter

from pymatgen.core import Structure

from phonotune.models.ase_engine import AseEvaluator
from phonotune.ports import Evaluation


class GFN1(AseEvaluator):
    """Energy, forces and stress of structures as they are; tblite samples Γ only, so cells must be large."""

    identity = "gfn1-xtb"

    def __init__(self) -> None:
        from tblite.ase import TBLite

        super().__init__(TBLite(method="GFN1-xTB", verbosity=0))
        self.seconds: list[float] = []

    def __call__(self, structures: Sequence[Structure]) -> list[Evaluation]:
        """Answer structures one by one and print how long each took."""
        answers = []
        for structure in structures:
            begun = perf_counter()
            answers += super().__call__([structure])
            self.seconds.append(perf_counter() - begun)
            print(f"  {len(structure)} atoms, {self.seconds[-1]:.1f} s", flush=True)
        return answers
