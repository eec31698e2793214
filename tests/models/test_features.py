"""Laws of the features that frames are selected by."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pymatgen.core import Structure

from phonotune.errors import FoundationError, StructureError
from phonotune.models.evaluate import ModelEvaluator
from phonotune.models.features import FeatureExtractor, pool_features

EXACT = 1e-10
"""Rounding of float64 through a whole model."""


@pytest.fixture(scope="module")
def extractor(tiny_mace_session) -> FeatureExtractor:
    return FeatureExtractor(tiny_mace_session, "cpu")


@pytest.fixture
def cells(magnesia, silicon, rattled) -> list[Structure]:
    return [rattled(magnesia, 1), rattled(silicon, 2), rattled(magnesia, 3)]


def turned(structure: Structure) -> tuple[Structure, np.ndarray, np.ndarray]:
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    order = np.random.default_rng(1).permutation(len(structure))
    return (
        Structure(
            structure.lattice.matrix @ rotation.T,
            [structure.species[i] for i in order],
            (structure.cart_coords @ rotation.T)[order],
            coords_are_cartesian=True,
        ),
        rotation,
        order,
    )


def test_descriptors_do_not_see_rotation_and_follow_the_atoms(extractor, cells) -> None:
    other, _, order = turned(cells[0])
    before, after = extractor.descriptors([cells[0], other])
    np.testing.assert_allclose(after, before[order], atol=EXACT)


def test_descriptors_hold_the_scalars_of_every_layer(extractor, cells, tiny_mace_session) -> None:
    scalars = sum(p.linear.irreps_out.count("0e") for p in tiny_mace_session.products)
    assert [d.shape for d in extractor.descriptors(cells)] == [(len(c), scalars) for c in cells]


def test_descriptors_tell_displaced_atoms_apart(extractor, magnesia, rattled) -> None:
    ideal, moved = extractor.descriptors([magnesia, rattled(magnesia, 1)])
    assert np.ptp(ideal[:4], axis=0).max() < EXACT
    assert np.ptp(moved[:4], axis=0).max() > 1e-3


def test_force_features_are_the_derivatives_of_the_forces(
    extractor, cells, tiny_mace_session, tiny_mace
) -> None:
    """Change the last weights, one after the other: the forces change by the feature, exactly."""
    features = extractor.force_features(cells)
    base = ModelEvaluator(tiny_mace_session, "cpu")(cells)
    n_linear = tiny_mace.readouts[0].linear.weight.numel()
    step = 0.5
    for readout, number, first in (
        (tiny_mace.readouts[0].linear, 2, 0),
        (tiny_mace.readouts[-1].linear_2, 1, n_linear),
    ):
        norm = 1.0 / np.sqrt(readout.weight.numel())
        with torch.no_grad():
            readout.weight[number] += step
        changed = ModelEvaluator(tiny_mace, "cpu")(cells)
        with torch.no_grad():
            readout.weight[number] -= step
        for cell_features, before, after in zip(features, base, changed, strict=True):
            found = (after.forces - before.forces).ravel() / (step * norm)
            np.testing.assert_allclose(found, cell_features[:, first + number], atol=1e-8)


def test_force_features_turn_with_the_crystal(extractor, cells) -> None:
    other, rotation, order = turned(cells[0])
    before, after = extractor.force_features([cells[0], other])
    as_vectors = before.reshape(len(cells[0]), 3, -1)
    expected = np.einsum("ab,nbw->naw", rotation, as_vectors)[order]
    np.testing.assert_allclose(after.reshape(expected.shape), expected, atol=1e-9)


def test_force_features_of_a_symmetric_crystal_vanish(extractor, magnesia) -> None:
    np.testing.assert_allclose(extractor.force_features([magnesia])[0], 0.0, atol=EXACT)


@pytest.mark.parametrize("kind", ["descriptors", "force_features"])
def test_batches_do_not_change_the_features(tiny_mace_session, cells, kind) -> None:
    alone = FeatureExtractor(tiny_mace_session, "cpu", atoms_per_batch=1)
    together = FeatureExtractor(tiny_mace_session, "cpu", atoms_per_batch=1000)
    for one, other in zip(getattr(alone, kind)(cells), getattr(together, kind)(cells), strict=True):
        np.testing.assert_allclose(one, other, atol=EXACT)


def test_a_batch_that_does_not_fit_is_halved(tiny_mace_session, cells, monkeypatch) -> None:
    extractor = FeatureExtractor(tiny_mace_session, "cpu", atoms_per_batch=1000)
    whole, sizes = extractor.descriptors(cells), []
    plain = extractor._descriptors

    def narrow(batch):
        sizes.append(len(batch["ptr"]) - 1)
        if sizes[-1] > 1:
            raise torch.cuda.OutOfMemoryError
        return plain(batch)

    monkeypatch.setattr(extractor, "_descriptors", narrow)
    for one, other in zip(extractor.descriptors(cells), whole, strict=True):
        np.testing.assert_allclose(one, other, atol=EXACT)
    assert sizes == [3, 1, 2, 1, 1]


def test_what_a_method_needs_is_computed(tiny_mace_session, cells) -> None:
    assert pool_features(tiny_mace_session, None, cells, "cpu") is None
    described = pool_features(tiny_mace_session, "descriptors", cells, "cpu")
    forces = pool_features(tiny_mace_session, "force features", cells, "cpu")
    assert described is not None
    assert forces is not None
    assert [len(d) for d in described] == [len(c) for c in cells]
    assert [len(f) for f in forces] == [3 * len(c) for c in cells]


def test_a_readout_that_is_not_known_is_refused(tiny_mace, cells) -> None:
    tiny_mace.readouts[0] = torch.nn.Identity()
    extractor = FeatureExtractor(tiny_mace, "cpu")
    with pytest.raises(FoundationError, match="last layer of a Identity is not known"):
        extractor.force_features(cells)


def test_an_unknown_element_is_refused(extractor, aluminium) -> None:
    with pytest.raises(StructureError, match="Al"):
        extractor.descriptors([aluminium])
