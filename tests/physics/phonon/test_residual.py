"""Residual force constants: planted ones come back, and nothing else is made up."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from monty.json import MontyDecoder, MontyEncoder
from pymatgen.core import Lattice, Structure

from phonotune.errors import FramesError, InputError, LabelError
from phonotune.physics.phonon.displacements import (
    PhononPlan,
    analyse_forces,
    fit_force_constants,
    plan_displacements,
)
from phonotune.physics.phonon.residual import (
    ResidualPlan,
    analyse_residual,
    plan_residual,
    residual_variant,
)
from phonotune.physics.phonon.residual_fit import pairs_suffice
from phonotune.physics.phonon.settings import PhononSettings
from phonotune.physics.residual import basis
from phonotune.physics.residual.matching import ResidualSettings
from phonotune.physics.supercell import as_matrix, make_supercell
from phonotune.ports import Evaluation
from phonotune.schemas.base import Source
from phonotune.schemas.blob import Blob
from phonotune.schemas.dataset import Frame
from phonotune.schemas.phonon import PhononDocument
from tests.physics.conftest import HARMONIC, RocksaltWell, emt

Answer = Callable[[Sequence[Structure]], list[Evaluation]]

MODEL = RocksaltWell(curvature=2.6, quartic=0.0, spring=0.8)
FEW = ResidualSettings(n_draws=4)


def rattles(supercell: Structure, answer: Answer, n: int, length: float = 0.02) -> list[Frame]:
    """Return frames with every atom displaced at random, labelled."""
    rng = np.random.default_rng(0)
    frames = []
    for _ in range(n):
        moves = rng.normal(scale=length / np.sqrt(3), size=(len(supercell), 3))
        structure = Structure(
            supercell.lattice,
            supercell.species,
            supercell.cart_coords + moves,
            coords_are_cartesian=True,
        )
        frames.append(Frame(structure, forces=answer([structure])[0].forces))
    return frames


def corrected(
    plan: PhononPlan, frames: list[Frame], model: Answer, source: Source
) -> PhononDocument:
    own = plan_residual(plan, frames, FEW, required=True)
    return analyse_residual(own, model(own.structures), source)


@pytest.fixture(scope="module")
def rock_plan(rocksalt: Structure, small_settings: PhononSettings) -> PhononPlan:
    return plan_displacements(rocksalt, small_settings)


@pytest.fixture(scope="module")
def labels(rocksalt: Structure, rock_plan: PhononPlan) -> list[Frame]:
    return rattles(make_supercell(rocksalt, rock_plan.matrix), HARMONIC, 2)


@pytest.fixture(scope="module")
def fixed(rock_plan: PhononPlan, labels: list[Frame], source: Source) -> PhononDocument:
    return corrected(rock_plan, labels, MODEL, source)


def test_harmonic_differences_are_recovered_exactly(
    fixed: PhononDocument, harmonic_phonons: PhononDocument
) -> None:
    found, wanted = fixed.data.arrays(), harmonic_phonons.data.arrays()
    np.testing.assert_allclose(found["force_constants"], wanted["force_constants"], atol=1e-7)
    np.testing.assert_allclose(found["mesh_frequencies"], wanted["mesh_frequencies"], atol=1e-5)
    model = residual_variant(fixed, "model").data.arrays()
    assert np.abs(model["mesh_frequencies"] - wanted["mesh_frequencies"]).mean() > 0.1
    assert fixed.residual.error_after < 1e-6 < fixed.residual.error_before
    assert fixed.residual.frequency_uncertainty < 1e-4
    assert fixed.highest_frequency == pytest.approx(harmonic_phonons.highest_frequency, abs=1e-5)


def test_one_frame_is_enough_where_symmetry_is_high(
    rock_plan: PhononPlan, labels: list[Frame], source: Source, harmonic_phonons: PhononDocument
) -> None:
    document = corrected(rock_plan, labels[:1], MODEL, source)
    np.testing.assert_allclose(
        document.data.arrays()["force_constants"],
        harmonic_phonons.data.arrays()["force_constants"],
        atol=1e-6,
    )


def test_a_perfect_model_is_left_as_it_is(
    rock_plan: PhononPlan, labels: list[Frame], source: Source
) -> None:
    document = corrected(rock_plan, labels, HARMONIC, source)
    arrays = document.data.arrays()
    np.testing.assert_allclose(
        arrays["force_constants"], arrays["force_constants_model"], atol=1e-10
    )
    assert document.residual.error_after == pytest.approx(0.0, abs=1e-10)


def test_the_corrected_force_constants_obey_the_sum_rule_and_symmetry(
    fixed: PhononDocument, rock_plan: PhononPlan
) -> None:
    arrays = fixed.data.arrays()
    for name in ("force_constants", "force_constants_model", "force_constants_symfc"):
        np.testing.assert_allclose(arrays[name].sum(axis=1), 0.0, atol=1e-8)
    gamma = arrays["commensurate_frequencies"][0]
    np.testing.assert_allclose(gamma[:3], 0.0, atol=1e-3)
    np.testing.assert_allclose(gamma[3:], gamma[3], rtol=1e-6)


def test_the_forces_in_the_document_make_the_corrected_force_constants(
    fixed: PhononDocument, rock_plan: PhononPlan
) -> None:
    arrays = fixed.data.arrays()
    again = fit_force_constants(rock_plan, arrays["displacement_forces"]).force_constants
    np.testing.assert_allclose(again, arrays["force_constants"], atol=1e-8)


def test_permuted_sites_change_nothing(
    rock_plan: PhononPlan, labels: list[Frame], source: Source, fixed: PhononDocument
) -> None:
    order = np.random.default_rng(5).permutation(len(labels[0].structure))
    shuffled = [
        Frame(Structure.from_sites([f.structure[int(i)] for i in order]), forces=f.forces[order])
        for f in labels
    ]
    again = corrected(rock_plan, shuffled, MODEL, source)
    np.testing.assert_allclose(
        again.data.arrays()["force_constants"], fixed.data.arrays()["force_constants"], atol=1e-9
    )


def test_only_force_constants_of_the_variants_are_stored(fixed: PhononDocument) -> None:
    beside = {name for name in fixed.data.arrays() if name.endswith(("_model", "_symfc"))}
    assert beside == {"force_constants_model", "force_constants_symfc"}


def test_a_document_of_an_earlier_version_holds_more_arrays_and_loads(
    fixed: PhononDocument,
) -> None:
    arrays = fixed.data.arrays()
    more = {"mesh_frequencies_model": arrays["mesh_frequencies"]}
    old = fixed.model_copy(update={"data": Blob.pack(**arrays, **more)})
    read = MontyDecoder().decode(MontyEncoder().encode(old))
    assert residual_variant(read, "model").highest_frequency == pytest.approx(
        fixed.residual.model.highest_frequency
    )


def test_the_variants_are_phonons_of_their_own(
    fixed: PhononDocument, rock_plan: PhononPlan, source: Source
) -> None:
    own = analyse_forces(rock_plan, MODEL(rock_plan.structures), source)
    variant = residual_variant(fixed, "model")
    assert variant.residual is None
    assert variant.highest_frequency == pytest.approx(own.highest_frequency, abs=1e-8)
    assert fixed.residual.model.highest_frequency == pytest.approx(own.highest_frequency, abs=1e-8)
    np.testing.assert_allclose(
        variant.data.arrays()["band_frequencies"],
        own.data.arrays()["band_frequencies"],
        atol=1e-6,
    )
    plain = residual_variant(fixed, "symfc")
    assert plain.lowest_frequency == pytest.approx(fixed.residual.symfc.lowest_frequency, abs=1e-6)
    with pytest.raises(InputError, match="hold no residual"):
        residual_variant(own, "model")


POLAR = Structure(Lattice.tetragonal(2.9, 3.4), ["Cu", "Au"], [[0, 0, 0], [0.5, 0.5, 0.54]])
POLAR_SETTINGS = PhononSettings(
    supercell_matrix=as_matrix([2, 2, 2]), mesh_density=10.0, max_temperature=300.0
)


def test_forces_at_the_sites_are_not_taken_for_force_constants(source: Source) -> None:
    """The reference is EMT with softer springs and a constant force between the sublattices."""
    plan = plan_displacements(POLAR, POLAR_SETTINGS)
    supercell = make_supercell(POLAR, plan.matrix)
    full = _full_constants(plan)

    def reference(structures: Sequence[Structure]) -> list[Evaluation]:
        answers = []
        for structure, answer in zip(structures, emt()(structures), strict=True):
            moves = _moves(plan, structure)
            push = np.zeros_like(answer.forces)
            push[:, 2] = [0.3 if site.specie.symbol == "Cu" else -0.3 for site in structure]
            answers.append(
                replace(answer, forces=answer.forces + push + 0.2 * _apply(full, plan, moves))
            )
        return answers

    document = corrected(plan, rattles(supercell, reference, 4), emt(), source)
    arrays = document.data.arrays()
    np.testing.assert_allclose(
        arrays["force_constants"], 0.8 * arrays["force_constants_model"], atol=1e-5
    )
    plain = arrays["force_constants_symfc"] - arrays["force_constants"]
    assert np.abs(plain).max() > 0.1


def _sites(plan: PhononPlan, structure: Structure) -> np.ndarray:
    """Return the supercell's site of each of the structure's, both in the plan's lattice."""
    cell = plan.structures[0].lattice.matrix
    ideal = plan.phonon.supercell.positions
    apart = (structure.cart_coords[:, None] - ideal) @ np.linalg.inv(cell)
    return np.linalg.norm((apart - np.rint(apart)) @ cell, axis=2).argmin(axis=1)


def _moves(plan: PhononPlan, structure: Structure) -> np.ndarray:
    cell = plan.structures[0].lattice.matrix
    order = _sites(plan, structure)
    apart = (structure.cart_coords - plan.phonon.supercell.positions[order]) @ np.linalg.inv(cell)
    moves = np.empty((len(structure), 3))
    moves[order] = (apart - np.rint(apart)) @ cell
    return np.stack([moves[order], order[:, None] * np.ones(3)])


def _full_constants(plan: PhononPlan) -> np.ndarray:
    from phonopy.harmonic.force_constants import compact_fc_to_full_fc

    phonon = fit_force_constants(plan, np.array([a.forces for a in emt()(plan.structures)]))
    return compact_fc_to_full_fc(phonon.primitive, np.array(phonon.force_constants))


def _apply(full: np.ndarray, plan: PhononPlan, moves: np.ndarray) -> np.ndarray:
    """Return Φ u in the structure's order of sites: what softer springs take away."""
    order = moves[1, :, 0].astype(int)
    return np.einsum("ijab,jb->ia", full[np.ix_(order, order)], moves[0])


def test_more_force_constants_than_data_are_shrunk_and_still_help(source: Source) -> None:
    """A crystal without symmetry, whose model is EMT with forces a fifth too large."""
    rng = np.random.default_rng(6)
    cell = Structure(
        Lattice(np.diag([2.9, 3.1, 3.4]) + rng.normal(scale=0.05, size=(3, 3))),
        ["Cu", "Au"],
        [[0, 0, 0], [0.47, 0.52, 0.53]],
    )
    plan = plan_displacements(cell, POLAR_SETTINGS)

    def model(structures: Sequence[Structure]) -> list[Evaluation]:
        return [replace(a, forces=1.2 * a.forces) for a in emt()(structures)]

    frames = rattles(make_supercell(cell, plan.matrix), emt(), 1)
    document = corrected(plan, frames, model, source)
    fit = document.residual
    assert fit.n_parameters > fit.n_data
    assert fit.effective_parameters < fit.n_data
    truth = analyse_forces(plan, emt()(plan.structures), source).data.arrays()["force_constants"]
    arrays = document.data.arrays()
    before, after, plain = (
        np.linalg.norm(arrays[name] - truth)
        for name in ("force_constants_model", "force_constants", "force_constants_symfc")
    )
    assert after < 0.75 * before
    assert after < 0.5 * plain
    assert fit.frequency_uncertainty > 0.01


def test_without_a_frame_of_the_supercell_the_phonons_are_those_of_the_model(
    rock_plan: PhononPlan, rocksalt: Structure, source: Source
) -> None:
    other = [Frame(rocksalt, forces=np.zeros((len(rocksalt), 3)))]
    assert plan_residual(rock_plan, other) is rock_plan
    document = analyse_residual(rock_plan, MODEL(rock_plan.structures), source)
    assert document.residual is None
    with pytest.raises(FramesError, match="None of 1 labelled frames"):
        plan_residual(rock_plan, other, required=True)


def test_frames_of_other_cells_are_counted(
    rock_plan: PhononPlan, rocksalt: Structure, labels: list[Frame], source: Source
) -> None:
    other = Frame(rocksalt, forces=np.zeros((len(rocksalt), 3)))
    document = corrected(rock_plan, [other, *labels], MODEL, source)
    assert (document.residual.n_frames, document.residual.n_others) == (2, 1)


def test_a_missing_answer_to_a_labelled_frame_is_named(
    rock_plan: PhononPlan, labels: list[Frame], source: Source
) -> None:
    plan = plan_residual(rock_plan, labels, FEW)
    assert isinstance(plan, ResidualPlan)
    answers = [*MODEL(plan.structures)[:-1], None]
    with pytest.raises(LabelError, match=f"no answer for frames: {len(answers) - 1}"):
        analyse_residual(plan, answers, source)


def test_the_document_survives_its_way_through_json(fixed: PhononDocument) -> None:
    text = MontyEncoder().encode(fixed)
    assert MontyDecoder().decode(text).residual == fixed.residual
    assert len(text) - len(fixed.data.payload) < 50_000


def test_cubic_anharmonicity_cancels_between_mirrored_frames(
    rock_plan: PhononPlan, rocksalt: Structure, source: Source, harmonic_phonons: PhononDocument
) -> None:
    """A reference with forces of second order: two mirrored frames are exact, two others are not."""
    supercell = make_supercell(rocksalt, rock_plan.matrix)
    independent = rattles(supercell, HARMONIC, 2)

    def moves(frame: Frame) -> np.ndarray:
        return np.asarray(frame.structure.cart_coords - supercell.cart_coords)

    def cubic(frame: Frame) -> Frame:
        return replace(frame, forces=frame.forces + 40.0 * moves(frame) ** 2)

    def wrong(frames: list[Frame]) -> float:
        document = corrected(rock_plan, [cubic(f) for f in frames], MODEL, source)
        assert document.residual.n_pairs == (frames is pair)
        found, wanted = (d.data.arrays()["mesh_frequencies"] for d in (document, harmonic_phonons))
        return float(np.abs(found - wanted).mean())

    opposite = Structure(
        supercell.lattice,
        supercell.species,
        supercell.cart_coords - moves(independent[0]),
        coords_are_cartesian=True,
    )
    pair = [independent[0], Frame(opposite, forces=HARMONIC([opposite])[0].forces)]
    assert wrong(pair) < 1e-4
    assert wrong(independent) > 1e-2


DOUBLED = PhononSettings(supercell_matrix=as_matrix([2, 2, 2]))


def magnesia(moves: float = 0.0) -> Structure:
    cell = Structure.from_spacegroup(
        "Fm-3m", Lattice.cubic(4.2), ["Mg", "O"], [[0, 0, 0], [0.5, 0.5, 0.5]]
    )
    drawn = np.random.default_rng(0).normal(scale=moves, size=(len(cell), 3))
    return Structure(
        cell.lattice, cell.species, cell.cart_coords + drawn, coords_are_cartesian=True
    )


def test_pairs_suffice_where_symmetry_is_high_and_only_there() -> None:
    """31 force constants and 192 forces per frame; without symmetry there are thousands."""
    assert pairs_suffice(magnesia(), DOUBLED, 2)
    assert not pairs_suffice(magnesia(moves=0.05), DOUBLED, 2)
    assert not pairs_suffice(magnesia(), DOUBLED, 1)


def test_more_frames_let_pairs_suffice_at_lower_symmetry() -> None:
    """Tetragonal, 143 force constants, 120 forces per frame."""
    sites = [[0, 0, 0], [0.5, 0.5, 0.52], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]
    cell = Structure(Lattice.tetragonal(4.0, 4.08), ["Ba", "Ti", "O", "O", "O"], sites)
    assert not pairs_suffice(cell, DOUBLED, 4)
    assert pairs_suffice(cell, DOUBLED, 6)


def test_the_fit_takes_the_basis_that_the_choice_of_pairs_has_found(
    rocksalt: Structure,
    small_settings: PhononSettings,
    labels: list[Frame],
    source: Source,
) -> None:
    pairs_suffice(rocksalt, small_settings, 2)
    searches = basis._find_basis.cache_info().misses
    again = Structure.from_dict(rocksalt.as_dict())
    document = corrected(plan_displacements(again, small_settings), labels, MODEL, source)
    assert document.residual is not None
    assert basis._find_basis.cache_info().misses == searches


@pytest.fixture(scope="module")
def anharmonic(rocksalt: Structure, rock_plan: PhononPlan) -> Callable[[int, float], list[Frame]]:
    """Labels that differ from MODEL by its harmonic error and, on every site, by forces of third order."""
    supercell = make_supercell(rocksalt, rock_plan.matrix)

    def labelled(n: int, length: float) -> list[Frame]:
        found = []
        for frame in rattles(supercell, HARMONIC, n, length):
            moves = frame.structure.cart_coords - supercell.cart_coords
            spoilt = frame.forces - 300.0 * (moves**3 + 0.05 * moves**2)
            found.append(replace(frame, forces=spoilt - spoilt.mean(axis=0)))
        return found

    return labelled


def errors(document: PhononDocument, wanted: PhononDocument) -> tuple[float, float]:
    """Return the mean error of the frequencies with and without ΔΦ, THz."""
    plain = residual_variant(document, "model")
    nu, own, alone = (d.data.arrays()["mesh_frequencies"] for d in (wanted, document, plain))
    return float(np.abs(own - nu).mean()), float(np.abs(alone - nu).mean())


def test_the_correction_goes_to_none_where_anharmonic_forces_may_have_made_it_up(
    anharmonic: Callable[[int, float], list[Frame]],
    rock_plan: PhononPlan,
    source: Source,
    harmonic_phonons: PhononDocument,
) -> None:
    document = corrected(rock_plan, anharmonic(4, 0.2), MODEL, source)
    with_it, alone = errors(document, harmonic_phonons)
    fit = document.residual
    assert fit.kept == 0.0
    assert with_it == pytest.approx(alone)
    assert with_it < 2.0 * fit.frequency_uncertainty
    assert "ΔΦ is left out" in fit.advice
    assert "Label two frames in which every atom is displaced by 0.03 Å" in fit.advice


def test_frames_of_large_amplitude_do_not_spoil_those_of_small(
    anharmonic: Callable[[int, float], list[Frame]],
    rock_plan: PhononPlan,
    source: Source,
    harmonic_phonons: PhononDocument,
) -> None:
    small = anharmonic(1, 0.03)
    for n in (1, 3):
        document = corrected(rock_plan, [*small, *anharmonic(n, 0.2)], MODEL, source)
        assert document.residual.n_frames == 1 + n
        with_it, alone = errors(document, harmonic_phonons)
        first, _ = errors(corrected(rock_plan, small, MODEL, source), harmonic_phonons)
        assert with_it < max(1.5 * first, 0.02 * alone)
        assert with_it < 2.0 * document.residual.frequency_uncertainty
        assert document.residual.kept > 0.5


def test_a_document_that_says_nothing_of_what_is_kept_loads(fixed: PhononDocument) -> None:
    assert fixed.residual.kept == pytest.approx(1.0)
    assert fixed.residual.advice is None
    old = json.loads(MontyEncoder().encode(fixed))
    for name in ("kept", "noise", "advice"):
        del old["residual"][name]
    assert MontyDecoder().process_decoded(old).residual.kept is None
