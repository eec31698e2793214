from __future__ import annotations

import numpy as np
import pytest
import torch
from pymatgen.core import Structure
from scipy.spatial.transform import Rotation

from phonotune.errors import FoundationError, PhonotuneError, StructureError
from phonotune.models.batching import ELEMENTS_PER_BATCH, Batching, find_atoms_per_batch
from phonotune.models.evaluate import (
    ModelEvaluator,
    choose_device,
    readout_head,
)
from phonotune.models.evaluators import load_evaluator
from phonotune.models.graphs import Batch, GraphSpec, build_graph
from phonotune.models.records import find_model
from phonotune.settings import get_settings

EXACT = 1e-10
"""Two orders of summation of the same float64 terms, eV and eV/Å."""
FINITE_DIFFERENCE = 1e-7
"""Central differences of step 1e-4 in float64, eV/Å and eV/Å^3."""


@pytest.fixture(scope="module")
def evaluator(tiny_mace_session) -> ModelEvaluator:
    return ModelEvaluator(tiny_mace_session, device="cpu")


@pytest.fixture
def crystals(magnesia, silicon, rattled) -> list[Structure]:
    return [
        rattled(magnesia, 1),
        rattled(silicon, 2),
        magnesia,
        rattled(magnesia * (2, 1, 1), 3),
    ]


def assert_same(one, other, tolerance=EXACT):
    assert one.energy == pytest.approx(other.energy, abs=tolerance)
    np.testing.assert_allclose(one.forces, other.forces, atol=tolerance)
    np.testing.assert_allclose(one.stress, other.stress, atol=tolerance)


def deformed(structure: Structure, deformation) -> Structure:
    return Structure(
        structure.lattice.matrix @ deformation, structure.species, structure.frac_coords
    )


@pytest.mark.parametrize("atoms_per_batch", [1, 9, 10_000])
def test_batch_equals_one_by_one(tiny_mace_session, evaluator, crystals, atoms_per_batch):
    batched = ModelEvaluator(tiny_mace_session, device="cpu", atoms_per_batch=atoms_per_batch)(
        crystals
    )
    for crystal, answer in zip(crystals, batched, strict=True):
        assert_same(answer, evaluator([crystal])[0])


def test_forces_are_minus_the_gradient_of_the_energy(evaluator, magnesia, rattled):
    structure = rattled(magnesia, 4)
    step = 1e-4
    moved = []
    for sign in (1, -1):
        for axis in range(3):
            copy = structure.copy()
            copy.translate_sites([5], sign * step * np.eye(3)[axis], frac_coords=False)
            moved.append(copy)
    energies = np.array([answer.energy for answer in evaluator(moved)]).reshape(2, 3)
    numerical = -(energies[0] - energies[1]) / (2 * step)
    np.testing.assert_allclose(
        evaluator([structure])[0].forces[5], numerical, atol=FINITE_DIFFERENCE
    )


def test_stress_is_the_strain_gradient_of_the_energy_over_the_volume(evaluator, magnesia, rattled):
    structure = rattled(magnesia, 5)
    step = 1e-4
    numerical = np.zeros((3, 3))
    for i in range(3):
        for j in range(i, 3):
            strain = np.zeros((3, 3))
            strain[i, j] += 0.5
            strain[j, i] += 0.5
            plus, minus = evaluator(
                [deformed(structure, np.eye(3) + s * step * strain) for s in (1, -1)]
            )
            numerical[i, j] = numerical[j, i] = (plus.energy - minus.energy) / (2 * step)
    np.testing.assert_allclose(
        evaluator([structure])[0].stress, numerical / structure.volume, atol=FINITE_DIFFERENCE
    )


def test_a_stretched_crystal_has_positive_stress():
    """The sign shared with ASE: a cell that wants to shrink has dE/dε > 0."""
    from ase.build import bulk
    from ase.calculators.emt import EMT

    atoms = bulk("Cu", a=3.9)
    atoms.calc = EMT()
    assert np.trace(atoms.get_stress(voigt=False)) > 0


def test_permuting_atoms_permutes_forces(evaluator, magnesia, rattled):
    structure = rattled(magnesia, 6)
    order = np.random.default_rng(0).permutation(len(structure))
    answer, permuted = evaluator([structure, Structure.from_sites([structure[i] for i in order])])
    assert permuted.energy == pytest.approx(answer.energy, abs=EXACT)
    np.testing.assert_allclose(permuted.forces, answer.forces[order], atol=EXACT)


def test_rotating_the_crystal_rotates_forces_and_stress(evaluator, magnesia, rattled):
    structure = rattled(magnesia, 7)
    rotation = Rotation.from_euler("xyz", [0.3, 1.1, -0.7]).as_matrix()
    answer, rotated = evaluator([structure, deformed(structure, rotation.T)])
    assert rotated.energy == pytest.approx(answer.energy, abs=EXACT)
    np.testing.assert_allclose(rotated.forces, answer.forces @ rotation.T, atol=EXACT)
    np.testing.assert_allclose(rotated.stress, rotation @ answer.stress @ rotation.T, atol=EXACT)


def test_forces_of_a_crystal_add_up_to_zero(evaluator, crystals):
    for answer in evaluator(crystals):
        np.testing.assert_allclose(answer.forces.sum(axis=0), 0, atol=EXACT)


def test_nothing_to_evaluate_gives_no_answers(evaluator):
    assert evaluator([]) == []


def test_the_model_and_the_default_dtype_are_left_alone(tiny_mace, magnesia):
    before = {name: p.clone() for name, p in tiny_mace.named_parameters()}
    default = torch.get_default_dtype()
    ModelEvaluator(tiny_mace, device="cpu", dtype="float32")([magnesia])
    assert torch.get_default_dtype() == default
    for name, parameter in tiny_mace.named_parameters():
        assert parameter.requires_grad
        assert parameter.dtype == torch.float64
        assert torch.equal(parameter, before[name])


def test_later_training_does_not_change_the_answers(tiny_mace, magnesia):
    evaluator = ModelEvaluator(tiny_mace, device="cpu")
    before = evaluator([magnesia])[0]
    with torch.no_grad():
        for parameter in tiny_mace.parameters():
            parameter.mul_(2.0)
    assert_same(evaluator([magnesia])[0], before)


@pytest.mark.parametrize("default", [torch.float32, torch.float64])
def test_answers_do_not_depend_on_the_default_dtype(evaluator, crystals, default):
    expected = evaluator(crystals)
    before = torch.get_default_dtype()
    torch.set_default_dtype(default)
    try:
        found = evaluator(crystals)
    finally:
        torch.set_default_dtype(before)
    for one, other in zip(found, expected, strict=True):
        assert_same(one, other)


def test_single_precision_agrees_with_double_to_single_precision(
    tiny_mace_session, evaluator, crystals
):
    single = ModelEvaluator(tiny_mace_session, device="cpu", dtype="float32")(crystals)
    for one, other in zip(single, evaluator(crystals), strict=True):
        assert_same(one, other, tolerance=1e-4)
        assert one.forces.dtype == np.float64


def test_unknown_dtype_is_refused(tiny_mace_session):
    with pytest.raises(PhonotuneError, match=r"'float16'.*float64"):
        ModelEvaluator(tiny_mace_session, dtype="float16")


def test_unknown_element_is_refused(evaluator, magnesia):
    magnesia.replace_species({"Mg": "Ca"})
    with pytest.raises(StructureError, match="Ca"):
        evaluator([magnesia])


def test_nan_names_the_structure(tiny_mace, magnesia, silicon):
    with torch.no_grad():
        tiny_mace.node_embedding.linear.weight.fill_(float("nan"))
    with pytest.raises(PhonotuneError, match=r"structure 0 \(Mg4 O4"):
        ModelEvaluator(tiny_mace, device="cpu")([magnesia, silicon])


class CrampedMace(torch.nn.Module):
    """A MACE on a device without memory for more than `room` atoms."""

    def __init__(self, model: torch.nn.Module, room: int) -> None:
        super().__init__()
        self.model, self.room, self.sizes = model, room, []
        self.atomic_numbers, self.r_max = model.atomic_numbers, model.r_max

    def forward(self, batch, **kwargs):
        if (size := len(batch["positions"])) > self.room:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        self.sizes.append(size)
        return self.model(batch, **kwargs)


def test_a_batch_that_does_not_fit_is_halved(tiny_mace, evaluator, magnesia):
    cramped = ModelEvaluator(CrampedMace(tiny_mace, room=20), device="cpu")
    answers = cramped([magnesia] * 5)
    assert cramped._model.sizes == [16, 8, 16]
    for answer in answers:
        assert_same(answer, evaluator([magnesia])[0])


def test_one_structure_that_does_not_fit_is_named(tiny_mace, magnesia):
    cramped = ModelEvaluator(CrampedMace(tiny_mace, room=7), device="cpu")
    with pytest.raises(PhonotuneError, match=r"Mg4 O4 \(8 atoms.*smaller supercell"):
        cramped([magnesia] * 3)


def test_source_says_who_computed(evaluator):
    record = find_model("mini")
    model = load_evaluator(record, "cpu")
    assert (model.source.evaluator, model.source.model_id) == ("mini", record.model_id)
    assert (model.source.role, model.source.dtype, model.source.device) == (
        *("untuned", "float64", "cpu"),
    )
    assert model.identity != load_evaluator(record, "cpu", "float32").identity
    with pytest.raises(PhonotuneError, match="a module that is not stored"):
        _ = evaluator.source


def test_device_is_taken_from_the_settings_when_automatic(monkeypatch):
    monkeypatch.setenv("PHONOTUNE_DEVICE", "cpu")
    get_settings.cache_clear()
    assert choose_device("auto") == torch.device("cpu")
    assert choose_device("meta") == torch.device("meta")


def test_batches_follow_the_settings_or_suit_the_device(monkeypatch):
    assert find_atoms_per_batch(torch.device("cuda")) > find_atoms_per_batch(torch.device("cpu"))
    monkeypatch.setenv("PHONOTUNE_ATOMS_PER_BATCH", "7")
    get_settings.cache_clear()
    assert find_atoms_per_batch(torch.device("cuda")) == 7


def test_the_default_head_is_found_and_an_ambiguous_one_refused(tiny_mace):
    assert readout_head(tiny_mace) == 0
    tiny_mace.heads = ["pt_head", "Default"]
    assert readout_head(tiny_mace) == 1
    tiny_mace.heads = ["omat_pbe", "omol"]
    with pytest.raises(FoundationError, match="omat_pbe, omol"):
        readout_head(tiny_mace)


def test_spec_of_a_single_precision_model_is_single_precision(tiny_mace):
    assert GraphSpec.of(tiny_mace.float()).dtype == torch.float32


def batch_sizes(spec: GraphSpec, structures: list[Structure], channels: int = 32) -> list[int]:
    sizes: list[int] = []

    def count(batch: Batch) -> list[None]:
        sizes.append(len(batch["ptr"]) - 1)
        return [None] * sizes[-1]

    Batching(spec, torch.device("cpu"), 0, 64, channels).map(count, structures)
    return sizes


def test_batches_of_wide_models_and_of_many_elements_are_smaller(
    tiny_mace_session, magnesia, silicon, monkeypatch
) -> None:
    spec = GraphSpec.of(tiny_mace_session)
    cells = [magnesia] * (64 // len(magnesia))
    assert batch_sizes(spec, cells) == [len(cells)]
    slots = len(magnesia) * build_graph(magnesia, spec).width
    two_fit = int(32 * 64 * 80 / (2.5 * slots))
    assert batch_sizes(spec, cells, two_fit) == [2] * (len(cells) // 2)
    assert batch_sizes(spec, [magnesia, magnesia, silicon]) == [3]
    monkeypatch.setitem(ELEMENTS_PER_BATCH, "cpu", 2)
    assert batch_sizes(spec, [magnesia, magnesia, silicon]) == [2, 1]
