"""matcalc's PhononCalc and ElasticityCalc: python properties_matcalc.py MODEL STRUCTURE.json.

MODEL is a file of MACE, or the name of a SevenNet that comes with sevenn.
"""

from __future__ import annotations

import os
import sys
import tempfile
import warnings

import torch

warnings.simplefilter("ignore")
torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))

from matcalc import ElasticityCalc, PhononCalc  # noqa: E402
from properties_common import Answer, serve  # noqa: E402
from pymatgen.core import Structure  # noqa: E402


def main() -> None:
    model, path = sys.argv[1:]
    structure = Structure.from_file(path)
    if model.startswith("7net"):
        from sevenn.calculator import SevenNetCalculator

        calculator = SevenNetCalculator(model, device="cpu")
    else:
        from mace.calculators import MACECalculator

        calculator = MACECalculator(model_paths=model, device="cpu", default_dtype="float64")
    os.chdir(tempfile.mkdtemp())

    def phonon() -> Answer:
        settings = {"atom_disp": 0.01, "supercell_matrix": [[2, 0, 0], [0, 2, 0], [0, 0, 2]]}
        result = PhononCalc(calculator, **settings, fmax=1e-4, write_phonon=False).calc(structure)
        return {"highest_frequency": float(result["frequencies"].max())}

    def elastic() -> Answer:
        calc = ElasticityCalc(
            calculator,
            fmax=1e-4,
            norm_strains=(-0.01, -0.005, 0.005, 0.01),
            shear_strains=(-0.01, -0.005, 0.005, 0.01),
            relax_deformed_structures=True,
            symmetry=False,
            units_GPa=True,
        )
        return {"bulk_modulus": float(calc.calc(structure)["bulk_modulus_vrh"])}

    serve({"phonon": phonon, "elastic": elastic})


if __name__ == "__main__":
    main()
