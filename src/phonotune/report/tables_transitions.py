"""Trees of phases as rows of text: the phases, and what became of every direction of every mode."""

from __future__ import annotations

from phonotune.report.tables import ABSENT, Cell, Row, Table, number, q_text
from phonotune.schemas.transition import PhaseBranch, PhaseNode, TransitionDocument


def plain_space_group(symbol: str) -> str:
    """Return a Hermann-Mauguin symbol with screw axes set low: ``P6_3/mmc`` is ``P6₃/mmc``."""
    for digit, low in enumerate("₀₁₂₃₄₅₆"):
        symbol = symbol.replace(f"_{digit}", low)
    return symbol


def phase_table(tree: TransitionDocument) -> Table:
    """Return the phases of a tree, lowest energy first; those of a labeller beside the model's."""
    led = {b.child: b for b in reversed(tree.branches) if b.outcome == "new phase"}
    rows = [
        Row(phase_name(node), f"no. {node.space_group_number}", _phase_cells(tree, node, led))
        for node in sorted(tree.nodes, key=lambda node: node.energy_per_atom)
    ]
    labelled = ((f"E, {tree.labeller}", "meV/atom"), ("Model − label", "meV/atom"))
    heads = (
        ("E − E(root)", "meV/f.u."),
        ("E − E(root)", "meV/atom"),
        *(labelled if tree.labeller is not None else ()),
        ("Lowest mode", "THz"),
        ("Atoms", "primitive cell"),
        ("From", "by the mode"),
        ("Ending", ""),
    )
    return Table(heads, tuple(rows), corner="Phase")


def phase_name(node: PhaseNode) -> str:
    """Return number and space group of a phase: two phases may share a space group."""
    return f"{node.id} {plain_space_group(node.space_group)}"


def _phase_cells(
    tree: TransitionDocument, node: PhaseNode, led: dict[int | None, PhaseBranch]
) -> tuple[Cell, ...]:
    branch = led.get(node.id)
    parent = "" if node.parent is None else phase_name(tree.nodes[node.parent])
    return (
        Cell(number(node.energy)),
        Cell(number(node.energy_per_atom)),
        *(_label_cells(node) if tree.labeller is not None else ()),
        Cell(number(node.lowest_frequency)),
        Cell(str(node.n_atoms)),
        Cell(parent or ABSENT, "" if branch is None else mode_text(branch)),
        Cell(node.ending),
    )


def _label_cells(node: PhaseNode) -> tuple[Cell, Cell]:
    label = node.label
    if label is None:
        return Cell(ABSENT), Cell(ABSENT)
    force = label.largest_force
    note = label.reason or ("" if force is None else f"forces up to {number(force, 2)} eV/Å")
    return Cell(number(label.energy_per_atom), note), Cell(number(label.error))


def mode_text(branch: PhaseBranch) -> str:
    """Return the mode of a branch in words: irrep, direction and q."""
    named = " ".join(filter(None, (branch.irrep, branch.direction))) or "mode"
    return f"{named} at {q_text(branch.q)}"


def branch_table(tree: TransitionDocument) -> Table:
    """Return every direction of every imaginary mode, and what became of it."""
    rows = [
        Row(f"{phase_name(tree.nodes[b.parent])}: {mode_text(b)}", "", _branch_cells(tree, b))
        for b in sorted(tree.branches, key=lambda b: (b.parent, b.frequency))
    ]
    heads = (
        ("Mode", "THz"),
        ("Cell", "atoms"),
        ("Q₀", "Å·√amu"),
        ("Depth at Q₀", "meV/f.u."),
        ("Outcome", ""),
    )
    return Table(heads, tuple(rows), corner="Phase and mode")


def _branch_cells(tree: TransitionDocument, branch: PhaseBranch) -> tuple[Cell, ...]:
    started = branch.start_space_group is not None
    target = "" if branch.child is None else phase_name(tree.nodes[branch.child])
    return (
        Cell(number(branch.frequency)),
        Cell(ABSENT if branch.n_atoms is None else str(branch.n_atoms)),
        Cell(number(branch.q0) if started else ABSENT),
        Cell(number(branch.depth) if started else ABSENT),
        Cell(branch.outcome, target),
    )
