"""Trees of phases as tables: the phases, and what became of every direction of every mode."""

from __future__ import annotations

from phonotune.report.table import Cell, Row, Table, column, number
from phonotune.report.tables import q_text
from phonotune.schemas.columns import ABSENT
from phonotune.schemas.transition import PhaseBranch, PhaseNode, TransitionDocument


def plain_space_group(symbol: str) -> str:
    """Return a Hermann-Mauguin symbol with screw axes set low: ``P6_3/mmc`` is ``P6₃/mmc``."""
    for digit, low in enumerate("₀₁₂₃₄₅₆"):
        symbol = symbol.replace(f"_{digit}", low)
    return symbol


def phase_table(tree: TransitionDocument) -> Table:
    """Return the phases of a tree, lowest energy first; those of a labeller beside the model's."""
    led = {b.child: b for b in reversed(tree.branches) if b.outcome == "new phase"}
    energy = column(tree, "ground_state.energy")
    rows = []
    for node in sorted(tree.nodes, key=lambda node: node.energy_per_atom):
        branch = led.get(node.id)
        parent = ABSENT if node.parent is None else phase_name(tree.nodes[node.parent])
        cells = [
            Cell(energy.number(node.energy)),
            Cell(energy.number(node.energy_per_atom)),
            *(_label_cells(node) if tree.labeller is not None else ()),
            Cell(number(node.lowest_frequency, 2)),
            Cell(str(node.n_atoms)),
            Cell(parent, "" if branch is None else mode_text(branch)),
            Cell(node.ending),
        ]
        rows.append(Row(phase_name(node), f"no. {node.space_group_number}", tuple(cells)))
    labelled = ((f"E, {tree.labeller}", "meV/atom"), ("Model - label", "meV/atom"))
    heads = (
        ("E - E(root)", "meV/f.u."),
        ("E - E(root)", "meV/atom"),
        *(labelled if tree.labeller is not None else ()),
        ("Lowest mode", "THz"),
        ("Atoms", "primitive cell"),
        ("From", "by the mode"),
        ("Ending", ""),
    )
    limits = f" Cut by: {', '.join(tree.limits)}." if tree.limits else " Nothing cut the tree."
    caption = (
        f"Phases found from {tree.n_evaluations} evaluated structures, lowest first, space groups "
        f"within {number(tree.symprec, 3)} Å.{limits}"
    )
    if tree.labeller is not None:
        caption += (
            f" {tree.labeller} labelled the phases where the model relaxed them to and relaxed none; "
            "its forces say how far that is from a minimum of its own."
        )
    return Table(
        heads, tuple(rows), corner="Phase", title=f"{tree.formula}: phases", caption=caption
    )


def phase_name(node: PhaseNode) -> str:
    """Return number and space group of a phase: two phases may share a space group."""
    return f"{node.id} {plain_space_group(node.space_group)}"


def _label_cells(node: PhaseNode) -> tuple[Cell, Cell]:
    label = node.label
    if label is None:
        return Cell(ABSENT), Cell(ABSENT)
    force = label.largest_force
    note = label.reason or ("" if force is None else f"forces up to {number(force, 3)} eV/Å")
    return Cell(number(label.energy_per_atom, 2), note), Cell(number(label.error, 2))


def mode_text(branch: PhaseBranch) -> str:
    """Return the mode of a branch in words: irrep, direction and q."""
    named = " ".join(filter(None, (branch.irrep, branch.direction))) or "mode"
    return f"{named} at {q_text(branch.q)}"


def branch_table(tree: TransitionDocument) -> Table:
    """Return every direction of every mode, softest first, and what became of it."""
    rows = []
    for branch in sorted(tree.branches, key=lambda b: (b.parent, b.frequency)):
        started = branch.start_space_group is not None
        target = "" if branch.child is None else phase_name(tree.nodes[branch.child])
        cells = (
            Cell(number(branch.frequency, 2)),
            Cell(ABSENT if branch.n_atoms is None else str(branch.n_atoms)),
            Cell(number(branch.q0, 3) if started else ABSENT),
            Cell(number(branch.depth, 2) if started else ABSENT),
            Cell(branch.outcome, target),
        )
        name = f"{phase_name(tree.nodes[branch.parent])}: {mode_text(branch)}"
        rows.append(Row(name, "", cells))
    heads = (
        ("Mode", "THz"),
        ("Cell", "atoms"),
        ("Q0", "Å·sqrt(amu)"),
        ("Depth at Q0", "meV/f.u."),
        ("Outcome", ""),
    )
    caption = (
        "Every direction of every imaginary mode, softest first, and what became of it. Q0: where the "
        "relaxation started."
    )
    title = f"{tree.formula}: modes followed"
    return Table(heads, tuple(rows), corner="Phase and mode", title=title, caption=caption)
