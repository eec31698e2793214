"""Candidate frames as the pipeline makes them, labels, and phonons: what selection is judged by.

``teacher`` labels; CaF2 is labelled by GFN1-xTB, in cells of 96 atoms since that samples Γ only.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
from monty.json import MontyDecoder, MontyEncoder
from pymatgen.core import Lattice, Structure

from phonotune.jobs.sample import RattleMaker, TrajectoryMaker, trajectory_pool
from phonotune.models.answer_cache import AnswerCache
from phonotune.models.evaluators import load_evaluator
from phonotune.physics.compare import PropertySet, compare
from phonotune.physics.phonon.displacements import analyse_forces, plan_displacements
from phonotune.physics.phonon.settings import PhononSettings
from phonotune.physics.relax import RelaxSettings, relax_batch
from phonotune.ports import Evaluator
from phonotune.sampling.pool import Pool
from phonotune.sampling.select import choose
from phonotune.sampling.select_energy import spread_by_energy
from phonotune.sampling.select_methods import METHODS
from phonotune.sampling.settings import RattleSettings, SelectSettings
from phonotune.schemas.base import Source, hash_json
from phonotune.schemas.dataset import Frame, TrajectoryDocument
from phonotune.schemas.phonon import PhononDocument
from phonotune.schemas.training import ModelRecord

FOUNDATION: Final = "mini"
TEACHER: Final = "teacher"
XTB: Final = "gfn1-xtb"
LENGTH: Final = {TEACHER: 7.5, XTB: 10.0}
"""Shortest supercell vector, Å, of rattled cells and phonons: with ``teacher`` that of the demo."""
LARGEST: Final = 16
"""Training frames that are chosen in one go; greedy methods give the smaller sets as its beginnings."""

_ROCKSALT = [[0, 0, 0], [0.5, 0.5, 0.5]]
_PEROVSKITE = [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0]]
_HEUSLER = [[0, 0, 0], [0.25, 0.25, 0.25], [0.5, 0.5, 0.5]]
CRYSTALS: Final[dict[str, tuple[str, Lattice, list[str], list[list[float]]]]] = {
    "BaTiO3": ("Pm-3m", Lattice.cubic(4.00), ["Ba", "Ti", "O"], _PEROVSKITE),
    "KNbO3": ("Pm-3m", Lattice.cubic(4.03), ["K", "Nb", "O"], _PEROVSKITE),
    "NaCl": ("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], _ROCKSALT),
    "MgO": ("Fm-3m", Lattice.cubic(4.21), ["Mg", "O"], _ROCKSALT),
    "Si": ("Fd-3m", Lattice.cubic(5.43), ["Si"], [[0, 0, 0]]),
    "CaF2": ("Fm-3m", Lattice.cubic(5.46), ["Ca", "F"], [[0, 0, 0], [0.25, 0.25, 0.25]]),
    "K3Sb": ("Fm-3m", Lattice.cubic(8.47), ["Sb", "K", "K"], _HEUSLER),
    "SnSe": (
        "Cmcm",
        Lattice.orthorhombic(4.31, 11.70, 4.32),
        ["Sn", "Se"],
        [[0, 0.12, 0.25], [0, 0.356, 0.25]],
    ),
    "ZnO": (
        "P6_3mc",
        Lattice.hexagonal(3.25, 5.21),
        ["Zn", "O"],
        [[1 / 3, 2 / 3, 0], [1 / 3, 2 / 3, 0.382]],
    ),
    "SrF2": ("Fm-3m", Lattice.cubic(5.80), ["Sr", "F"], [[0, 0, 0], [0.25, 0.25, 0.25]]),
    "GaAs": ("F-43m", Lattice.cubic(5.65), ["Ga", "As"], [[0, 0, 0], [0.25, 0.25, 0.25]]),
    "TiO2": (
        "P4_2/mnm",
        Lattice.tetragonal(4.59, 2.96),
        ["Ti", "O"],
        [[0, 0, 0], [0.305, 0.305, 0]],
    ),
    "LiTiS2": (
        "P-3m1",
        Lattice.hexagonal(3.45, 6.15),
        ["Ti", "Li", "S"],
        [[0, 0, 0], [0, 0, 0.5], [1 / 3, 2 / 3, 0.235]],
    ),
    "AlN": (
        "P6_3mc",
        Lattice.hexagonal(3.11, 4.98),
        ["Al", "N"],
        [[1 / 3, 2 / 3, 0], [1 / 3, 2 / 3, 0.382]],
    ),
}
"""Space group, lattice (``teacher`` relaxes it), elements and their sites."""


def labeller(name: str) -> str:
    """Return who labels a crystal."""
    return XTB if name == "CaF2" else TEACHER


def phonon_settings(name: str) -> PhononSettings:
    """Return the settings of a crystal's phonons."""
    return PhononSettings(min_length=LENGTH[labeller(name)])


@cache
def reference(name: str) -> Evaluator:
    """Return the labeller of a crystal as an evaluator."""
    if labeller(name) == TEACHER:
        return load_evaluator(TEACHER)
    from xtb import GFN1

    return GFN1()


@cache
def crystal(name: str) -> Structure:
    """Return the crystal, relaxed by ``teacher`` within its space group (SnSe: ions only); CaF2 as it is."""
    group, lattice, elements, sites = CRYSTALS[name]
    start = Structure.from_spacegroup(group, lattice, elements, sites)
    if labeller(name) == XTB:
        return start
    settings = RelaxSettings(relax_cell=name != "SnSe")  # the teacher's layers drift apart
    return relax_batch(reference(name), [start], settings)[0].final


def trajectories(name: str, seed: int, folder: Path) -> TrajectoryDocument:
    """Return the relaxations of the rattled cells, kept in a file of ``folder``."""
    path = folder / f"trajectories-{name}-{seed}.json"
    if path.exists():
        return MontyDecoder().decode(path.read_text(encoding="utf-8"))
    phonon = phonon_settings(name)
    settings = RattleSettings(min_length=phonon.min_length)
    rattle = RattleMaker(settings=settings, phonon=phonon, seed=seed)
    cells = RattleMaker.make.original(rattle, crystal(name))
    document = TrajectoryMaker.make.original(TrajectoryMaker(), cells, FOUNDATION)
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, cls=MontyEncoder), encoding="utf-8")
    return document


def chosen_frames(
    name: str, method: str, n: int, seed: int, small: bool, folder: Path
) -> tuple[list[Frame], list[Frame]]:
    """Return ``n`` training frames by a method, and the validation frames of the 0 % trajectory.

    With ``small`` the two small rattles are among the ``n``.
    """
    settings = SelectSettings(method=method)
    document = trajectories(name, seed, folder)
    plain = trajectory_pool(document, SelectSettings(method="random"))
    pool = (plain if small else Pool(plain.frames)).sorted()
    valid, rest = pool.split(settings.valid_group)
    validating = spread_by_energy(valid.frames, settings.n_valid, settings.span)
    fixed = list(rest.fixed)
    order = _order(rest, document, settings, n - len(fixed), seed, folder / f"order-{name}-{seed}")
    train = [rest.frames[i] for i in order] + fixed
    return train, [valid.frames[c.index] for c in validating]


def _order(
    rest: Pool,
    document: TrajectoryDocument,
    settings: SelectSettings,
    n: int,
    seed: int,
    stem: Path,
) -> list[int]:
    """Return the chosen frames of ``rest``, in the order of the choice; greedy orders are kept."""
    rng = np.random.default_rng(seed)
    if METHODS[settings.method][1] is None:
        return [c.index for c in choose(rest, n, settings, rng)]
    known = hash_json([settings.model_dump(mode="json"), len(rest.fixed)])[:8]
    path = stem.with_name(f"{stem.name}-{settings.method}-{known}.json")
    if not path.exists():
        full = trajectory_pool(document, settings, FOUNDATION)
        bare = full if rest.fixed else _without_fixed(full)
        _, described = bare.sorted().split(settings.valid_group)
        found = choose(described, LARGEST, settings, rng)
        path.write_text(json.dumps([[c.index, c.score] for c in found]), encoding="utf-8")
    return [index for index, _ in json.loads(path.read_text(encoding="utf-8"))[:n]]


def _without_fixed(pool: Pool) -> Pool:
    return Pool(pool.frames, descriptors=pool.descriptors, features=pool.features)


def labelled(name: str, frames: list[Frame], folder: Path) -> list[Frame]:
    """Return frames of a crystal with the labels of its reference; GFN1-xTB's are kept in ``folder``."""
    structures = [f.structure for f in frames]
    if labeller(name) == TEACHER:
        answers = reference(name)(structures)
    else:
        with AnswerCache(reference(name), work=name, interval=0.0, folder=folder) as cache:
            cache.keep = True
            answers = cache.evaluator(structures)
    return [
        Frame(f.structure, a.energy, a.forces, a.stress, f.group, f.origin)
        for f, a in zip(frames, answers, strict=True)
    ]


def phonons(name: str, model: ModelRecord | str, role: str) -> PhononDocument:
    """Return the phonons of a model at the reference's crystal."""
    plan = plan_displacements(crystal(name), phonon_settings(name))
    evaluator = load_evaluator(model, "cpu")
    source = evaluator.source.model_copy(update={"role": role})
    return analyse_forces(plan, evaluator(plan.structures), source)


@cache
def reference_phonons(name: str) -> PhononDocument:
    """Return the phonons of a crystal's reference."""
    plan = plan_displacements(crystal(name), phonon_settings(name))
    source = Source(role="reference", evaluator=labeller(name))
    return analyse_forces(plan, reference(name)(plan.structures), source)


def zone_mae(name: str, model: ModelRecord | str, role: str) -> float:
    """Return the mean absolute error of the frequencies over the whole zone, THz."""
    documents = (reference_phonons(name), phonons(name, model, role))
    wanted, tuned = (PropertySet.of([d]) for d in documents)
    return float(compare(wanted, [tuned]).rows[0].deviations.frequency_mae)
