"""Merged models in other programs: MACE's calculator, TorchScript, cuequivariance."""

import copy

import numpy as np
import pytest
import torch
from e3nn.util import jit
from mace.calculators import MACECalculator
from pymatgen.core import Lattice, Structure
from pymatgen.io.ase import AseAtomsAdaptor

from phonotune.models.adapter import Adapter, merge
from phonotune.models.engines import find_foundation
from phonotune.models.evaluate import ModelEvaluator
from phonotune.models.export import export_model
from phonotune.models.graphs import GraphSpec, build_graph, collate, fresh
from phonotune.models.load import load_foundation
from phonotune.models.records import model_record
from phonotune.models.weight_updates import low_rank, weight_blocks

SALT = [11, 17]
CLOSE = 1e-10
"""eV and eV/Å: rounding of float64 through a whole model."""


@pytest.fixture(scope="module")
def salt():
    cell = Structure.from_spacegroup(
        "Fm-3m", Lattice.cubic(5.6), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]
    )
    cell.translate_sites([0], [0.02, 0.01, 0.0])
    return cell


def adapter(seed):
    """A low-rank change of every path of ``mini``, of a size that fine-tuning reaches."""
    rng = torch.Generator().manual_seed(seed)
    terms = tuple(low_rank(b, rank=2) for b in weight_blocks(load_foundation("mini"), SALT))
    shapes = {name: shape for term in terms for name, shape in term.shapes().items()}
    tensors = {
        name: 0.1 * torch.randn(shape, generator=rng, dtype=torch.float64)
        for name, shape in shapes.items()
    }
    return Adapter(terms, tensors, {11: 0.5, 17: -0.25})


@pytest.fixture(scope="module")
def merged():
    return merge(load_foundation("mini"), adapter(0))


@pytest.fixture(scope="module")
def expected(merged, salt):
    return ModelEvaluator(merged, "cpu")([salt])[0]


def record(*seeds):
    contents = [adapter(seed).to_bytes() for seed in seeds]
    return model_record(find_foundation("mini"), "lora", contents, "d", {})


def test_maces_own_calculator_gives_the_same_numbers(tmp_path, salt, expected):
    (file,) = export_model(record(0), tmp_path / "salt.model")
    atoms = AseAtomsAdaptor.get_atoms(salt)
    atoms.calc = MACECalculator(model_paths=str(file), device="cpu", default_dtype="float64")
    assert atoms.get_potential_energy() == pytest.approx(expected.energy, abs=CLOSE)
    np.testing.assert_allclose(atoms.get_forces(), expected.forces, atol=CLOSE)


def test_a_committee_is_a_file_a_member(tmp_path, salt):
    files = export_model(record(0, 1), tmp_path / "salt.model")
    assert [file.name for file in files] == ["salt-1.model", "salt-2.model"]
    first, second = (torch.load(file, weights_only=False) for file in files)
    answers = [ModelEvaluator(model, "cpu")([salt])[0].energy for model in (first, second)]
    assert answers[0] != answers[1]


def test_merged_models_compile_to_torchscript(merged, salt, expected):
    compiled = jit.script(copy.deepcopy(merged))
    batch = collate([build_graph(salt, GraphSpec.of(merged))])
    output = compiled(fresh(batch), training=False, compute_force=True)
    assert float(output["energy"].detach()) == pytest.approx(expected.energy, abs=CLOSE)
    np.testing.assert_allclose(output["forces"].detach(), expected.forces, atol=CLOSE)


def test_merged_models_convert_to_cuequivariance(merged, salt, expected):
    pytest.importorskip("cuequivariance_torch")
    from mace.cli.convert_e3nn_cueq import run

    converted = run(merged, return_model=True, device="cpu")
    batch = collate([build_graph(salt, GraphSpec.of(merged))])
    output = converted(fresh(batch), training=False, compute_force=True)
    assert float(output["energy"].detach()) == pytest.approx(expected.energy, abs=1e-6)
    np.testing.assert_allclose(output["forces"].detach(), expected.forces, atol=1e-5)
