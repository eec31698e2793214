"""Phonons, wells, elastic constants and trainings as tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from phonotune.physics.committee_spread import spread_arrays
from phonotune.report.table import (
    Cell,
    Row,
    Table,
    bars_note,
    column,
    column_row,
    measured,
    number,
    percent,
    sentence,
    source_heads,
    yes_no,
)
from phonotune.schemas.base import PropertyDocument
from phonotune.schemas.columns import ABSENT
from phonotune.schemas.elastic import ElasticDocument
from phonotune.schemas.forgetting import ForgettingProbe
from phonotune.schemas.kinds import Kind, kind_of
from phonotune.schemas.masses import isotope_masses, masses_in_words
from phonotune.schemas.phonon import PhononDocument
from phonotune.schemas.training import ErrorMetrics, TrainingDocument
from phonotune.schemas.wells import WellDocument

VOIGT: Final = ("xx", "yy", "zz", "yz", "xz", "xy")
_SUBSCRIPTS: Final = "₁₂₃₄₅₆"
_CLASSES: Final = (
    ((0, 0), (1, 1), (2, 2)),
    ((0, 1), (0, 2), (1, 2)),
    ((3, 3), (4, 4), (5, 5)),
)
_ERRORS: Final = (
    ("Energy MAE", "meV/atom", "energy_mae", 2),
    ("Force MAE", "meV/Å", "forces_mae", 2),
    ("Stress MAE", "meV/Å³", "stress_mae", 3),
)


def kind_table(kind: Kind, documents: Sequence[PropertyDocument]) -> Table:
    """Return the headline numbers of a kind, one row each, one column per Source."""
    return Table(
        source_heads(documents),
        tuple(column_row(shown, documents) for shown in kind.columns),
        title=f"{documents[0].formula}: {kind.title.lower()}",
        caption=f"{kind.title}.{bars_note(documents)}",
    )


def phonon_table(*phonons: PhononDocument) -> Table:
    """Return how the phonons were computed and their headline numbers."""
    first = phonons[0]
    fields = {shown.path: shown for shown in kind_of(first).columns}
    fields["thermal_300.helmholtz"] = column(first, "thermal_300.helmholtz", "F at 300 K")
    fields["thermal_300.entropy"] = column(first, "thermal_300.entropy", "S at 300 K")
    matrices = ("; ".join(" ".join(map(str, row)) for row in p.supercell_matrix) for p in phonons)
    rows = (
        Row("Supercell", "rows of the matrix", tuple(map(Cell, matrices))),
        Row("Displacements", "", tuple(Cell(str(p.n_displacements)) for p in phonons)),
        Row("LO-TO splitting", "", tuple(Cell(yes_no(p.has_nac)) for p in phonons)),
        *(column_row(shown, phonons) for shown in fields.values()),
        Row(
            "Imaginary modes",
            "at commensurate q",
            tuple(
                Cell(str(len(p.imaginary_modes)), f"below {p.imaginary_threshold:g} THz")
                for p in phonons
            ),
        ),
    )
    return Table(
        source_heads(phonons),
        rows,
        title=f"{first.formula}: phonons",
        caption="Imaginary frequencies are negative. F, S and C_v per mole of formula units."
        + (f" Masses: {masses_in_words(cell)}." if isotope_masses(cell := first.unitcell) else "")
        + bars_note(phonons),
    )


def residual_table(document: PhononDocument) -> Table:
    """Return the model, the plain fit of the labels and the corrected model beside each other.

    The Document must hold residual force constants.
    """
    fit = document.residual
    assert fit is not None
    ranges = (("the model", fit.model), ("plain symfc fit", fit.symfc), ("model + ΔΦ", document))
    rows = tuple(
        Row(
            name,
            "",
            (Cell(number(r.lowest_frequency, 2)), Cell(number(r.highest_frequency, 2))),
        )
        for name, r in ranges
    )
    mirrored = f" ({fit.n_pairs} mirrored pairs)" if fit.n_pairs else ""
    caption = (
        f"{fit.n_frames} labelled frames of this supercell{mirrored}, {fit.n_others} others; "
        f"{fit.n_parameters} force constants of {fit.n_data} force components. Forces that the fit "
        f"did not see: {number(1000 * fit.error_before, 2)} meV/Å off without ΔΦ, "
        f"{number(1000 * fit.error_after, 2)} with it. Standard deviation of the frequencies by the "
        f"fit: {number(fit.frequency_uncertainty, 4)} THz."
        f"{f' {fit.advice}' if fit.advice else ''}"
    )
    heads = (("Lowest mode", "THz"), ("Highest mode", "THz"))
    return Table(heads, rows, corner="Residual force constants", caption=caption)


def well_table(*wells: WellDocument) -> Table:
    """Return depth, Q0 and curvature of every followed mode and Source."""
    first = wells[0]
    depth, q0 = column(first, "depth"), column(first, "q0")
    curvature = column(first, "curvature_frequency", "curvature at Q = 0")
    ranges = ["" if w.minimum_in_range else "at the end of the grid" for w in wells]
    lowest = tuple(Cell(number(lowest_energy(w), depth.digits)) for w in wells)
    modes = tuple(Cell(number(w.mode_frequency, 2), mode_owner(w)) for w in wells)
    rows = [
        Row("Mode", "q", tuple(Cell(q_text(w.q)) for w in wells)),
        Row("Double well", "", tuple(Cell(yes_no(w.has_double_well)) for w in wells)),
        column_row(depth, wells, ranges),
        Row("Lowest computed point", depth.unit, lowest),
        column_row(q0, wells),
        column_row(curvature, wells),
        Row("Followed mode", "THz", modes),
        column_row(column(first, "fit_residual", "largest misfit", 4), wells),
    ]
    if any(w.dropped_directions for w in wells):
        dropped = tuple(Cell(str(len(w.dropped_directions))) for w in wells)
        rows.append(Row("Directions left out", "beyond the most", dropped))
    return Table(
        source_heads(wells),
        tuple(rows),
        title=f"{first.formula}: double well",
        caption="The fitted double well; the curvature is that of the quadratic term, negative if "
        "imaginary." + bars_note(wells),
    )


def directions_table(well: WellDocument) -> Table:
    """Return one row for each direction followed: depth, Q0 and the first quantum levels."""
    depth, q0 = column(well, "depth"), column(well, "q0")
    rows = tuple(
        Row(
            part.direction or "one of them",
            "",
            (
                Cell(depth.number(part.depth)),
                Cell(q0.number(part.q0)),
                Cell(number(part.curvature_frequency, 2)),
                Cell(number(part.transition_frequency, 3)),
                Cell(yes_no(part.tunnel_splitting is not None)),
            ),
        )
        for part in well.directions
    )
    heads = (
        (sentence(depth.label), depth.unit),
        (q0.label, q0.unit),
        ("Curvature", "THz"),
        ("Level 0 to 1", "THz"),
        ("Tunnelling", ""),
    )
    mode = f"Irrep {well.irrep}" if well.irrep else "No irrep label"
    caption = f"{mode}; levels of a supercell of {well.formula_units} formula units."
    if well.dropped_directions:
        left = ", ".join(well.dropped_directions)
        caption += f" Not followed: {left} (name them with --directions)."
    if not well.all_directions_found:
        caption += " The search for directions stopped at its limit: there may be others."
    return Table(heads, rows, corner="Direction", caption=caption)


def lowest_energy(well: WellDocument) -> float:
    """Return the lowest computed energy, meV/f.u. relative to Q = 0: what the fit must reproduce."""
    return float(well.data.arrays()["energies"].min())


def mode_owner(well: WellDocument) -> str:
    """Return the role of the Source whose eigenvector was followed."""
    own = well.mode_source.startswith("this evaluator")
    return well.source.role if own else well.mode_source


def q_text(q: tuple[float, float, float]) -> str:
    """Return the name of Γ, or the components of any other q-point."""
    return "Γ" if not any(q) else f"({', '.join(f'{component:.3g}' for component in q)})"


def elastic_table(*elastics: ElasticDocument) -> Table:
    """Return distinct elastic constants (relaxed ions) and moduli of every Source, GPa."""
    first = elastics[0]
    spreads = [spread_arrays(e).get("elastic_tensor") for e in elastics]
    rows = []
    for i, j in distinct_constants(first):
        values = [float(np.asarray(e.elastic_tensor)[i, j]) for e in elastics]
        bars = [None if spread is None else float(spread[i, j]) for spread in spreads]
        texts = (measured(value, bar, 1) for value, bar in zip(values, bars, strict=True))
        cells = map(Cell, texts, _against_first(values))
        rows.append(Row(constant_label(i, j), "GPa", tuple(cells)))
    for shown in kind_of(first).columns:
        notes = _against_first([shown.value(e) for e in elastics])
        rows.append(column_row(shown, elastics, notes))
    for path, label, digits in (
        ("young_modulus", "Young's modulus", 1),
        ("poisson_ratio", "Poisson ratio", 3),
        ("universal_anisotropy", "universal anisotropy", 3),
    ):  # only a Born stable crystal has them
        if any(getattr(e, path) is not None for e in elastics):
            rows.append(column_row(column(first, path, label, digits), elastics))
    rows.append(column_row(column(first, "residual_pressure", "residual pressure"), elastics))
    stable = tuple(
        Cell(
            "stable" if e.born_stable else "unstable",
            "at a saddle of the ions" if e.internal_instability else "",
        )
        for e in elastics
    )
    rows.append(Row("Born criteria", "", stable))
    compared = "; deviation from the first column" if len(elastics) > 1 else ""
    return Table(
        source_heads(elastics),
        tuple(rows),
        title=f"{first.formula}: elastic constants",
        caption=f"Distinct constants with relaxed ions, Voigt notation, and averages after Hill{compared}."
        + bars_note(elastics),
    )


def _against_first(values: Sequence[float]) -> list[str]:
    """Return the deviation of each value from the first, which has none."""
    reference, *others = values
    return ["", *(percent(100.0 * (v / reference - 1.0)) if reference else "" for v in others)]


def tensor_table(elastic: ElasticDocument) -> Table:
    """Return the elastic tensor in Voigt order, relaxed ions, GPa."""
    rows = tuple(
        Row(name, "", tuple(Cell(number(value, 1)) for value in values))
        for name, values in zip(VOIGT, elastic.elastic_tensor, strict=True)
    )
    title = f"{elastic.formula}: elastic tensor, relaxed ions, GPa"
    return Table(tuple((name, "") for name in VOIGT), rows, corner="", title=title)


def distinct_constants(elastic: ElasticDocument) -> list[tuple[int, int]]:
    """Return Voigt indices of constants that differ by more than 1 % within their class.

    The classes are C11-C33, C12-C23, C44-C66 and the rest; of the rest only those above 1 % of the
    largest constant.
    """
    tensor = np.asarray(elastic.elastic_tensor)
    scale = 0.01 * float(np.abs(tensor).max())
    chosen: list[tuple[int, int]] = []
    for group in _CLASSES:
        kept: list[tuple[int, int]] = []
        for pair in group:
            if all(abs(tensor[pair] - tensor[other]) > scale for other in kept):
                kept.append(pair)
        chosen += kept
    listed = {pair for group in _CLASSES for pair in group}
    rest = [(i, j) for i in range(6) for j in range(i, 6) if (i, j) not in listed]
    return chosen + [pair for pair in rest if abs(tensor[pair]) > scale]


def constant_label(i: int, j: int) -> str:
    """Return ``C₁₂`` for Voigt indices (0, 1)."""
    return f"C{_SUBSCRIPTS[i]}{_SUBSCRIPTS[j]}"


def training_table(*trainings: TrainingDocument) -> Table:
    """Return errors on validation and training frames, before (once) and after each training."""
    heads: list[tuple[str, str]] = []
    columns: list[tuple[ErrorMetrics, ErrorMetrics]] = []
    probes: list[ForgettingProbe | None] = []
    for training in trainings:
        model, metrics = training.model, training.metrics
        before = (metrics.valid_before, metrics.train_before)
        if before not in columns:
            heads.append(("untuned", model.foundation.label))
            columns.append(before)
            probes.append(None)
        heads.append((model.strategy or "untuned", model.foundation.label))
        columns.append((metrics.valid_after, metrics.train_after))
        probes.append(training.forgetting)
    rows = []
    for index, part in enumerate(("validation", "training")):
        counts = tuple(Cell(str(pair[index].n_frames)) for pair in columns)
        rows.append(Row("Frames", part, counts))
        for name, unit, field, digits in _ERRORS:
            cells = tuple(Cell(number(getattr(pair[index], field), digits)) for pair in columns)
            rows.append(Row(f"{name}, {part}", unit, cells))
    caption = "Mean absolute errors before (offset of the energies refitted) and after training."
    if any(probe is not None for probe in probes):
        rows += _forgetting_rows(probes)
        caption += (
            " Forgetting: deviation from the foundation on a fixed probe of other crystals, zero "
            "before training."
        )
    for training in trainings:
        caption += (
            f" {training.model.label}: {training.plan.text}; best epoch {training.best_epoch} of "
            f"{training.epochs} ({training.stop_reason}), {training.seconds:.0f} s."
        )
        if training.isolated_atoms:
            caption += f" Isolated atoms: {training.energy_refit}."
    title = f"{trainings[0].formula}: training"
    return Table(tuple(heads), tuple(rows), title=title, caption=caption)


def _forgetting_rows(probes: Sequence[ForgettingProbe | None]) -> list[Row]:
    """Return the deviation from the foundation on its probe, and the deepest hole; None: untuned."""
    found = next(probe for probe in probes if probe is not None)
    rows = []
    for name, unit, digits in (
        ("energy", "meV/atom", 2),
        ("forces", "meV/Å", 2),
        ("stress", "meV/Å³", 3),
    ):
        cells = []
        for probe in probes:
            if probe is None:
                cells.append(Cell(ABSENT))
                continue
            share = f"{number(probe.overall.forces_relative, 1)} % of the foundation's"
            value = number(getattr(probe.overall, name), digits)
            cells.append(Cell(value, share if name == "forces" else ""))
        rows.append(Row(f"Forgetting, {name}", unit, tuple(cells)))
    holes = tuple(
        Cell(number(found.holes.deepest_before, 2))
        if probe is None
        else Cell(number(probe.holes.deepest_after, 2), probe.holes.worst_pair or "")
        for probe in probes
    )
    return [*rows, Row("Deepest hole in a pair's wall", "eV", holes)]
