from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from ase import units as ase_units
from pymatgen.core import Lattice, Structure

from phonotune.report.bundle import MaterialReport, bundle_documents
from phonotune.report.html import render_report
from phonotune.schemas.base import Document, Source, structure_hash
from phonotune.schemas.blob import Blob
from phonotune.schemas.comparison import (
    ComparisonDocument,
    ComparisonRow,
    Deviations,
    ImaginaryConfusion,
    Properties,
)
from phonotune.schemas.dataset import (
    DatasetDocument,
    Frame,
    LabelledSet,
    RejectedFrame,
    pack_frames,
)
from phonotune.schemas.elastic import ElasticDocument
from phonotune.schemas.phonon import BandLabel, PhononDocument, ThermalPoint
from phonotune.schemas.training import (
    ErrorMetrics,
    FoundationRecord,
    ModelRecord,
    PlanSummary,
    TrainingDocument,
    TrainingMetrics,
)
from phonotune.schemas.wells import WellDocument
from tests.report.builders import (
    born_document,
    conductivity_document,
    quasi_harmonic_document,
    sscha_document,
    transition_document,
)

POINTS = {
    "Γ": (0, 0, 0),
    "X": (0, 0.5, 0),
    "M": (0.5, 0.5, 0),
    "R": (0.5, 0.5, 0.5),
}
PATH = [["GAMMA", "X", "M", "GAMMA", "R", "X"], ["M", "R"]]
PER_LEG = 31
FOUNDATION = FoundationRecord(name="mini", sha256="1f" * 32)


def perovskite(a: float = 4.0) -> Structure:
    sites = [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]
    return Structure(Lattice.cubic(a), ["Ba", "Ti", "O", "O", "O"], sites)


def rocksalt() -> Structure:
    return Structure.from_spacegroup(
        "Fm-3m", Lattice.cubic(5.69), ["Na", "Cl"], [[0, 0, 0], [0.5] * 3]
    )


def chain_frequencies(q: np.ndarray, n_bands: int, stiffness: float, soft: float) -> np.ndarray:
    """Return signed frequencies (THz) of a cubic nearest-neighbour model, shape (n_q, n_bands)."""
    wave = np.sin(np.pi * q) ** 2
    squares = np.empty((len(q), n_bands))
    for band in range(n_bands):
        axis, level = band % 3, band // 3
        optical = 0.0 if level == 0 else (3.0 + 3.4 * level) ** 2
        width = 22.0 + 9.0 * level
        spread = 0.75 * wave[:, axis] + 0.25 * wave.mean(axis=1)
        squares[:, band] = optical + (-1.0) ** level * width * spread
    if soft and n_bands > 3:
        squares[:, 3:6] += soft - (3.0 + 3.4) ** 2 + 30.0 * wave.mean(axis=1)[:, None]
    squares *= stiffness
    return np.sort(np.sign(squares) * np.sqrt(np.abs(squares)), axis=1)


def band_path() -> tuple[np.ndarray, np.ndarray, np.ndarray, list[BandLabel]]:
    """Return q, distances, one segment a leg, and labels at both ends of each leg."""
    points = {("GAMMA" if k == "Γ" else k): np.array(v, float) for k, v in POINTS.items()}
    q, distances, segments, labels = [], [], [], []
    at = 0.0
    for piece in PATH:
        for first, last in pairwise(piece):
            start, length = len(q), float(np.linalg.norm(points[last] - points[first]))
            q += list(np.linspace(points[first], points[last], PER_LEG))
            distances += list(at + np.linspace(0, length, PER_LEG))
            at += length
            segments.append((start, len(q) - 1))
            labels += [BandLabel(index=start, label=first), BandLabel(index=len(q) - 1, label=last)]
    return np.array(q), np.array(distances), np.array(segments), labels


def harmonic(frequencies: np.ndarray, temperatures: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return F (kJ/mol), S and C_v (J/K/mol) of modes (n_q, n_bands) in THz, per primitive cell."""
    kept = np.where(frequencies > 0.05, frequencies, np.inf)
    hf = kept[None] * 1e12 * ase_units._hplanck
    zero = np.where(np.isfinite(hf), hf, 0.0).sum(axis=(1, 2)) / 2
    t = np.maximum(temperatures, 1e-3)[:, None, None]
    x = np.clip(hf / (ase_units._k * t), None, 600.0)
    finite = np.isfinite(kept)[None]
    ln = np.where(finite, np.log1p(-np.exp(-x)), 0.0)
    cv = np.where(finite, x**2 * np.exp(-x) / (1 - np.exp(-x)) ** 2, 0.0)
    s = np.where(finite, x * np.exp(-x) / (1 - np.exp(-x)), 0.0) - ln
    per = ase_units._Nav / len(frequencies)
    f = (zero + (ase_units._k * t[:, 0, 0]) * ln.sum(axis=(1, 2))) * per / 1000
    scale = ase_units._k * per
    return f, s.sum(axis=(1, 2)) * scale, cv.sum(axis=(1, 2)) * scale


def phonon_document(
    source: Source, structure: Structure, stiffness: float, soft: float
) -> PhononDocument:
    primitive = structure.get_primitive_structure()
    n_bands = 3 * len(primitive)
    q, distances, segments, labels = band_path()
    line = (np.arange(6) + 0.0) / 6
    mesh_q = np.stack(np.meshgrid(line, line, line), axis=-1).reshape(-1, 3)
    mesh = chain_frequencies(mesh_q, n_bands, stiffness, soft)
    bands = chain_frequencies(q, n_bands, stiffness, soft)
    grid = np.linspace(mesh.min() - 1, mesh.max() + 1, 240)
    dos = np.exp(-0.5 * ((grid[:, None] - mesh.ravel()[None]) / 0.25) ** 2).sum(axis=1)
    dos *= n_bands / (dos.sum() * (grid[1] - grid[0]))
    temperatures = np.linspace(0.0, 1000.0, 101)
    helmholtz, entropy, heat = harmonic(mesh, temperatures)
    commensurate = np.array(list(POINTS.values()), float)
    return PhononDocument(
        formula=structure.composition.reduced_formula,
        material_id=structure_hash(structure),
        source=source,
        settings={"displacement": 0.01, "symprec": 1e-5, "min_length": 10.0},
        unitcell=structure,
        supercell_matrix=((2, 0, 0), (0, 2, 0), (0, 0, 2)),
        primitive_matrix=((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
        mesh=(6, 6, 6),
        has_nac=False,
        n_displacements=4,
        imaginary_threshold=-0.1,
        lowest_frequency=float(mesh.min()),
        highest_frequency=float(mesh.max()),
        imaginary_modes=[],
        formula_units=1,
        thermal_300=ThermalPoint(
            temperature=300.0, helmholtz=helmholtz[30], entropy=entropy[30], heat_capacity=heat[30]
        ),
        band_labels=labels,
        data=Blob.pack(
            mesh_q=mesh_q,
            mesh_weights=np.ones(len(mesh_q)),
            mesh_frequencies=mesh,
            commensurate_q=commensurate,
            commensurate_frequencies=chain_frequencies(commensurate, n_bands, stiffness, soft),
            band_distances=distances,
            band_frequencies=bands,
            band_segments=segments,
            dos_frequencies=grid,
            dos_total=dos,
            temperatures=temperatures,
            helmholtz=helmholtz,
            entropy=entropy,
            heat_capacity=heat,
        ),
    )


def elastic_document(source: Source, structure: Structure, scale: float) -> ElasticDocument:
    tensor = np.diag([310.0, 310.0, 310.0, 128.0, 128.0, 128.0])
    tensor[:3, :3] += 118.0 * (1 - np.eye(3))
    tensor *= scale
    rows = tuple(tuple(map(float, row)) for row in tensor)
    bulk, shear = 182.0 * scale, 113.0 * scale
    return ElasticDocument(
        formula=structure.composition.reduced_formula,
        material_id=structure_hash(structure),
        source=source,
        settings={"strains": [-0.01, 0.01], "fmax": 1e-3},
        n_strains=4,
        elastic_tensor=rows,
        clamped_tensor=rows,
        bulk_modulus_voigt=bulk,
        bulk_modulus_reuss=bulk,
        bulk_modulus=bulk,
        shear_modulus_voigt=shear,
        shear_modulus_reuss=shear,
        shear_modulus=shear,
        residual_pressure=0.8 * (scale - 1),
        born_stable=True,
        internal_instability=source.role == "untuned",
    )


def well_document(source: Source, structure: Structure, c2: float, c4: float) -> WellDocument:
    amplitudes = np.linspace(0.0, 3.2, 17)
    q0 = float(np.sqrt(-c2 / (2 * c4))) if c2 < 0 else 0.0
    return WellDocument(
        formula=structure.composition.reduced_formula,
        material_id=structure_hash(structure),
        source=source,
        settings={"n_points": 17, "max_amplitude": 3.2},
        q=(0.0, 0.0, 0.0),
        band=0,
        mode_source="reference",
        mode_frequency=-5.9,
        curvature_frequency=-5.8 if c2 < 0 else 2.0,
        supercell_matrix=((1, 0, 0), (0, 1, 0), (0, 0, 1)),
        formula_units=1,
        normalisation="mass-weighted displacement of one formula unit",
        has_double_well=c2 < 0,
        minimum_in_range=True,
        depth=c2**2 / (4 * c4) if c2 < 0 else 0.0,
        q0=q0,
        fit_residual=0.02,
        data=Blob.pack(
            amplitudes=amplitudes,
            energies=c2 * amplitudes**2 + c4 * amplitudes**4,
            forces=-2 * c2 * amplitudes - 4 * c4 * amplitudes**3,
            coefficients=np.array([c2, c4, 0.0]),
            pattern=np.zeros((5, 3)),
        ),
    )


def frames_of(structure: Structure, n: int, rng: np.random.Generator) -> list[Frame]:
    cells = []
    for index in range(n):
        rattled = structure * (2, 2, 2)
        rattled = Structure(
            rattled.lattice,
            rattled.species,
            rattled.cart_coords + rng.normal(0, 0.05, (len(rattled), 3)),
            coords_are_cartesian=True,
        )
        forces = rng.normal(0, 0.9, (len(rattled), 3))
        cells.append(
            Frame(rattled, -30.0 - index, forces, np.zeros((3, 3)), str(index // 4), "rattle")
        )
    return cells


def dataset_document(frames: list[Frame], labeller: str, dataset_hash: str) -> DatasetDocument:
    return DatasetDocument(
        formula=frames[0].structure.composition.reduced_formula,
        dataset_hash=dataset_hash,
        labeller=labeller,
        train=list(range(len(frames) - 2)),
        valid=[len(frames) - 2, len(frames) - 1],
        n_duplicates=0,
        has_stress=100.0,
        data=pack_frames(frames),
    )


def labels_document(frames: list[Frame], labeller: str) -> LabelledSet:
    return LabelledSet(
        labeller=labeller,
        protocol="ab" * 32,
        requested=len(frames) + 1,
        rejected=[RejectedFrame(index=len(frames), reason="not converged")],
        data=pack_frames(frames),
    )


def training_document(
    formula: str, strategy: str, model_id: str, dataset_hash: str, final: float, seed: int = 0
) -> TrainingDocument:
    rng = np.random.default_rng(seed)
    epochs = np.arange(61)
    curve = final + (95.0 - final) * np.exp(-epochs / 7.0) * (1 + 0.06 * rng.normal(size=61))
    curve = np.abs(curve)
    reference = rng.normal(0, 0.9, (160, 3))

    def errors(n: int, forces: float) -> ErrorMetrics:
        return ErrorMetrics(
            n_frames=n, energy_mae=forces / 20, forces_mae=forces, stress_mae=forces / 50
        )

    return TrainingDocument(
        formula=formula,
        model=ModelRecord(
            model_id=model_id,
            foundation=FOUNDATION,
            strategy=strategy,
            dataset_hash=dataset_hash,
            config={"strategy": strategy, "max_epochs": 60, "lr": 0.01, "loss": {"forces": 100.0}},
            adapters=((Blob.pack(delta=rng.normal(size=8)),),),
        ),
        plan=PlanSummary(
            parameters_moved=16574,
            parameters_reached=70000,
            parameters_total=82288,
            tensors=31,
            text="16 574 of 82 288 parameters, 31 tensors",
        ),
        metrics=TrainingMetrics(
            train_before=errors(16, 93.0),
            train_after=errors(16, final * 0.8),
            valid_before=errors(4, 95.0),
            valid_after=errors(4, final),
        ),
        energy_refit="shifted by least squares on one composition; not transferable",
        best_epoch=58,
        epochs=60,
        seconds=71.3,
        stop_reason="max_epochs",
        device="cpu",
        history=Blob.pack(
            epoch=epochs,
            seconds=epochs * 1.2,
            loss=(curve / 80) ** 1.4,
            valid_loss=(curve / 60) ** 1.4,
            valid_energy=curve / 20,
            valid_forces=curve,
            valid_stress=curve / 50,
            lr=np.full(61, 0.01),
        ),
        parity=Blob.pack(
            forces_reference=reference,
            forces_predicted=reference + rng.normal(0, final / 800, reference.shape),
            forces_untuned=0.9 * reference + rng.normal(0, 0.08, reference.shape),
        ),
    )


def deviations(mae: float, bulk: float) -> Deviations:
    return Deviations(
        frequency_mae=mae,
        frequency_rmse=1.4 * mae,
        frequency_max=5.1 * mae,
        highest_frequency_bias=-8.0 * mae,
        dos_error=28.0 * mae,
        branch_mae=tuple(mae * (0.4 + 0.08 * band) for band in range(15)),
        imaginary=ImaginaryConfusion(
            both=211, only_reference=int(90 * mae), only_model=0, neither=2900
        ),
        heat_capacity_300=1.5 * mae,
        bulk_modulus=bulk,
        shear_modulus=bulk,
        well_depth=-60.0 * mae,
        well_q0=-21.0 * mae,
    )


def material_documents(
    structure: Structure,
    labeller: str = "teacher",
    soft: float = -36.0,
    strategies: tuple[str, ...] = ("lora",),
    tag: str = "a",
) -> list[Document]:
    """Return every Document that a run of one material leaves, with plausible numbers."""
    formula, material_id = structure.composition.reduced_formula, structure_hash(structure)
    dataset_hash = tag * 64
    frames = frames_of(structure, 6, np.random.default_rng(3))
    sources = [
        Source(role="reference", evaluator=labeller),
        Source(
            role="untuned", evaluator="mini", model_id=f"{tag}0" * 32, dtype="float64", device="cpu"
        ),
    ]
    documents: list[Document] = [
        labels_document(frames, labeller),
        dataset_document(frames, labeller, dataset_hash),
    ]
    for k, strategy in enumerate(strategies):
        model_id = f"{tag}{k + 1}" * 32
        sources.append(
            Source(
                role=strategy, evaluator="mini", model_id=model_id, dtype="float64", device="cpu"
            )
        )
        documents.append(
            training_document(formula, strategy, model_id, dataset_hash, 4.0 + 3.0 * k, seed=k)
        )
    changes = [(1.0, 1.0), (0.84, 0.45), *((0.99 - 0.01 * k, 0.97) for k in range(len(strategies)))]
    rows, properties = [], []
    for source, (stiff, softness) in zip(sources, changes, strict=True):
        phonon = phonon_document(source, structure, stiff, soft * softness)
        elastic = elastic_document(source, structure, 0.5 + 0.5 * stiff)
        documents += [phonon, elastic]
        well = None
        if soft < 0:
            well = well_document(source, structure, -24.0 * softness, 3.1 * stiff)
            documents.append(well)
        properties.append(
            Properties(
                lowest_frequency=phonon.lowest_frequency,
                highest_frequency=phonon.highest_frequency,
                heat_capacity_300=phonon.thermal_300.heat_capacity,
                bulk_modulus=elastic.bulk_modulus,
                shear_modulus=elastic.shear_modulus,
                well_depth=well.depth if well else None,
                well_q0=well.q0 if well else None,
            )
        )
    for source, numbers, (stiff, _) in zip(sources[1:], properties[1:], changes[1:], strict=True):
        dev = deviations(4.0 * (1 - stiff) + 0.005, 50 * (stiff - 1))
        rows.append(ComparisonRow(source=source, properties=numbers, deviations=dev))
    documents.append(
        ComparisonDocument(
            formula=formula,
            material_id=material_id,
            reference=sources[0],
            reference_properties=properties[0],
            rows=rows,
        )
    )
    return documents


def thermal_documents(structure: Structure, sources: list[Source]) -> list[Document]:
    """Return thermal expansion and conductivity of each Source, and the tree of the last."""
    made: list[Document] = [
        transition_document(source=sources[-1]),
        born_document(structure, sources[0]),
    ]
    for source, scale in zip(sources, (1.0, 0.8, 0.95, 0.97), strict=True):
        made.append(quasi_harmonic_document(scale=scale, source=source))
        made.append(conductivity_document(scale=scale, source=source))
        made.append(sscha_document(structure, source))
    about = {
        "formula": structure.composition.reduced_formula,
        "material_id": structure_hash(structure),
    }
    return [document.model_copy(update=about) for document in made]


@pytest.fixture(scope="session")
def build() -> SimpleNamespace:
    """Builders of synthetic Documents, by name."""
    return SimpleNamespace(
        material=material_documents,
        perovskite=perovskite,
        rocksalt=rocksalt,
        phonon=phonon_document,
        elastic=elastic_document,
        well=well_document,
        training=training_document,
        frames=frames_of,
        dataset=dataset_document,
        labels=labels_document,
    )


@pytest.fixture(scope="session")
def soft_documents() -> list[Document]:
    return material_documents(perovskite())


@pytest.fixture(scope="session")
def soft(soft_documents: list[Document]) -> MaterialReport:
    (material,) = bundle_documents(soft_documents)
    return material


@pytest.fixture(scope="session")
def many(soft_documents: list[Document]) -> list[MaterialReport]:
    stable = material_documents(rocksalt(), "vasp", 0.0, ("lora", "equitrain"), tag="b")
    stable += thermal_documents(rocksalt(), [d.source for d in stable if d.kind == "phonon"])
    return bundle_documents(soft_documents + stable)


@pytest.fixture(scope="session")
def soft_page(soft: MaterialReport) -> str:
    return render_report([soft])


@pytest.fixture(scope="session")
def many_page(many: list[MaterialReport]) -> str:
    return render_report(many)
