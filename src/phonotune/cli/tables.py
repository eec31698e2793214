"""Documents as tables for people: field's terms, units in the heading."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.console import Group
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from phonotune.schemas.kinds import ABSENT, compared_kinds, kind_of, value_at

if TYPE_CHECKING:
    from phonotune.schemas.base import Document, PropertyDocument, Source
    from phonotune.schemas.comparison import ComparisonDocument
    from phonotune.schemas.elastic import ElasticDocument
    from phonotune.schemas.phonon import PhononDocument
    from phonotune.schemas.statistics import DatasetStatistics
    from phonotune.schemas.training import ErrorMetrics, TrainingDocument
    from phonotune.schemas.transition import TransitionDocument
    from phonotune.schemas.wells import WellDocument


def new_table(
    title: str | None,
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    caption: str | None = None,
    numbers: bool = True,
) -> Group:
    """Return a table with its title and caption; with ``numbers`` only the first column is text."""
    table = Table(box=box.SIMPLE_HEAD, show_header=any(columns), pad_edge=False)
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if numbers and index else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(escape, row))
    above = [] if title is None else [Text(title, style="bold")]
    below = [] if caption is None else [Text(caption)]
    return Group(*above, table, *below)


def number(value: float | None, digits: int) -> str:
    """Return a number with fixed decimals, never ``-0.0``, or a dash where there is none."""
    return ABSENT if value is None else f"{round(value, digits) + 0.0:.{digits}f}"


def _with_bar(document: PropertyDocument, name: str, digits: int) -> str:
    """Return a field with the standard deviation of a committee's members, where there is one."""
    bar = None if document.spread is None else document.spread.numbers.get(name)
    text = number(getattr(document, name), digits)
    return text if bar is None else f"{text} ± {number(bar, digits)}"


def label(source: Source) -> str:
    """Return who computed: role and evaluator, e.g. ``lora · mini``."""
    return f"{source.role} · {source.evaluator}"


def comparison_table(comparison: ComparisonDocument) -> Group:
    """Return the reference and the models, one row each, with the columns that hold a number."""
    table = [["", label(comparison.reference), *(label(row.source) for row in comparison.rows)]]
    for kind in compared_kinds().values():
        deviations = () if kind.comparison is None else kind.comparison.columns
        for column in deviations:
            if column.brief:
                numbers = map(column.number, map(column.value, comparison.rows))
                table.append([f"{column.label}\n{column.unit}", ABSENT, *numbers])
        for column in kind.columns:
            if column.brief:
                path = column.field or f"others.{kind.name}.{column.path}"
                cells = [column.number(value_at(comparison.reference_properties, path))]
                for row in comparison.rows:
                    text, bar = (value_at(part, path) for part in (row.properties, row.error_bars))
                    error = "" if bar is None else f" ± {column.number(bar)}"
                    cells.append(column.number(text) + error)
                table.append([f"{column.label}\n{column.unit}", *cells])
    filled = [cells for cells in table if any(cell != ABSENT for cell in cells[1:])]
    columns, *rows = zip(*filled, strict=True)
    return new_table(f"{comparison.formula}: reference and models", columns, rows)


def phonon_table(document: PhononDocument) -> Group:
    """Return the headline numbers of a phonon document."""
    warm = document.thermal_300
    imaginary = f"{len(document.imaginary_modes)} (below {document.imaginary_threshold:g} THz)"
    matrix = "; ".join(" ".join(map(str, row)) for row in document.supercell_matrix)
    rows = (
        ("supercell matrix (rows)", matrix),
        ("displacements", str(document.n_displacements)),
        ("LO-TO splitting (NAC)", "yes" if document.has_nac else "no"),
        ("lowest frequency, THz", _with_bar(document, "lowest_frequency", 3)),
        ("highest frequency, THz", _with_bar(document, "highest_frequency", 3)),
        ("imaginary modes at commensurate q", imaginary),
        ("F at 300 K, kJ/mol", number(warm.helmholtz, 2)),
        ("S at 300 K, J/K/mol", number(warm.entropy, 2)),
        ("C_v at 300 K, J/K/mol", number(warm.heat_capacity, 2)),
    )
    return new_table(f"{document.formula}: phonons by {label(document.source)}", ("", ""), rows)


def elastic_table(document: ElasticDocument) -> Group:
    """Return the elastic tensor (GPa, Voigt order) with its averages below."""
    names = ("xx", "yy", "zz", "yz", "xz", "xy")
    rows = [
        (name, *(number(value, 1) for value in row))
        for name, row in zip(names, document.elastic_tensor, strict=True)
    ]
    caption = (
        f"bulk modulus {_with_bar(document, 'bulk_modulus', 1)} GPa, shear modulus "
        f"{_with_bar(document, 'shear_modulus', 1)} GPa (Hill); Born stable: "
        f"{'yes' if document.born_stable else 'no'}; residual pressure "
        f"{number(document.residual_pressure, 2)} GPa"
    )
    if document.young_modulus is not None:
        caption += (
            f"\nYoung's modulus {number(document.young_modulus, 1)} GPa, Poisson ratio "
            f"{number(document.poisson_ratio, 3)}, universal anisotropy "
            f"{number(document.universal_anisotropy, 3)}"
        )
    if document.internal_instability:
        caption += "\nAn unstable Γ mode couples to strain: this is the tensor of a saddle."
    title = f"{document.formula}: elastic tensor, relaxed ions, GPa, by {label(document.source)}"
    return new_table(title, ("", *names), rows, caption=caption)


def well_table(document: WellDocument) -> Group:
    """Return the headline numbers of the potential along a mode."""
    rows = (
        ("q (primitive reciprocal vectors)", " ".join(f"{x:g}" for x in document.q)),
        ("followed mode, THz", number(document.mode_frequency, 3)),
        ("frequency from the curvature, THz", number(document.curvature_frequency, 3)),
        ("double well", "yes" if document.has_double_well else "no"),
        ("depth, meV/f.u.", number(document.depth, 3)),
        ("Q0, Å·sqrt(amu)", number(document.q0, 3)),
        ("largest deviation of the fit, meV/f.u.", number(document.fit_residual, 4)),
    )
    return new_table(f"{document.formula}: E(Q) by {label(document.source)}", ("", ""), rows)


def transition_table(document: TransitionDocument) -> Group:
    """Return the phases of a tree, one row each, lowest energy first."""
    led = {b.child: b for b in reversed(document.branches) if b.outcome == "new phase"}
    rows = []
    for node in sorted(document.nodes, key=lambda node: node.energy_per_atom):
        branch = led.get(node.id)
        mode = "" if branch is None else " ".join(filter(None, (branch.irrep, branch.direction)))
        q = "" if branch is None else " ".join(f"{x + 0.0:.3g}" for x in branch.q)
        parent = "" if node.parent is None else f"{document.nodes[node.parent].space_group}"
        rows.append(
            (
                f"{node.id} {node.space_group} ({node.space_group_number})",
                str(node.n_atoms),
                number(node.energy, 3),
                number(node.lowest_frequency, 2),
                parent,
                mode,
                q,
                node.ending,
            )
        )
    columns = ("phase", "atoms", "E\nmeV/f.u.", "lowest mode\nTHz", "from", "mode", "q", "")
    limits = f"; cut by {', '.join(document.limits)}" if document.limits else ""
    caption = f"{document.n_evaluations} structures evaluated{limits}"
    title = f"{document.formula}: phases by {label(document.source)}"
    return new_table(title, columns, rows, caption=caption)


def training_table(document: TrainingDocument) -> Group:
    """Return the errors before and after tuning."""
    metrics = document.metrics
    rows = [
        _error_row("training, before", metrics.train_before),
        _error_row("training, after", metrics.train_after),
        _error_row("validation, before", metrics.valid_before),
        _error_row("validation, after", metrics.valid_after),
    ]
    columns = (
        "mean absolute error",
        "frames",
        "energy\nmeV/atom",
        "forces\nmeV/Å",
        "stress\nmeV/Å³",
    )
    caption = (
        f"{document.plan.text}; best epoch {document.best_epoch} of {document.epochs} "
        f"({document.stop_reason}), {document.seconds:.0f} s"
    )
    title = f"{document.formula}: {document.model.label}"
    return new_table(title, columns, rows, caption=caption)


def _error_row(name: str, errors: ErrorMetrics) -> tuple[str, ...]:
    return (
        name,
        str(errors.n_frames),
        number(errors.energy_mae, 2),
        number(errors.forces_mae, 2),
        number(errors.stress_mae, 3),
    )


def result_row(document: Document) -> tuple[str, ...]:
    """Return formula, kind, who computed, headline and material of any document."""
    source = getattr(document, "source", None)
    model = getattr(document, "model", None)
    by = label(source) if source is not None else getattr(model, "label", "")
    material = getattr(document, "material_id", "")
    return (
        getattr(document, "formula", ""),
        document.kind,
        by,
        kind_of(document).words(document),
        material,
    )


def dataset_table(
    title: str,
    statistics: DatasetStatistics,
    n_duplicates: int,
    groups: Sequence[tuple[str, int]],
) -> Group:
    """Return what a dataset holds, one line a fact; ``groups`` are those to show, with their frames."""
    s = statistics
    atoms = str(s.smallest) if s.smallest == s.largest else f"{s.smallest} to {s.largest}"
    labels = (
        f"{s.with_energy} energy, {s.with_forces} forces, {s.with_stress} stress, "
        f"{s.with_magmoms} magnetic moments"
    )
    hidden = s.n_groups - len(groups)
    rows = [
        ("frames", str(s.n_frames)),
        ("atoms a frame", atoms),
        ("frames by composition", _counts(s.compositions.items())),
        ("frames by labeller and protocol", _counts(s.protocols.items())),
        (
            f"frames by group ({s.n_groups})",
            _counts(groups) + (f" and {hidden} more" if hidden else ""),
        ),
        ("labels", labels),
        ("energy, eV/atom", _range(s.energy_lowest, s.energy_highest, 4)),
        ("force component, rms, eV/Å", number(s.force_rms, 4)),
        ("largest force on an atom, eV/Å", number(s.force_largest, 4)),
        ("pressure, GPa", _range(s.pressure_lowest, s.pressure_highest, 2)),
        ("duplicates", str(n_duplicates)),
    ]
    return new_table(title, ("", ""), rows, numbers=False)


def _counts(pairs: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{name}: {count}" for name, count in pairs) or ABSENT


def _range(lowest: float | None, highest: float | None, digits: int) -> str:
    if lowest is None or highest is None:
        return ABSENT
    return f"{number(lowest, digits)} to {number(highest, digits)}"
