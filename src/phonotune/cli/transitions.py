"""``phonotune transitions``: the phases that a crystal's imaginary modes lead to, by a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from phonotune.cli.console import session
from phonotune.cli.documents import TRANSITIONS, summary_of, write_document
from phonotune.cli.options import (
    AsJson,
    Debug,
    Model,
    OutputFolder,
    StructureFile,
    check_output_folder,
)
from phonotune.cli.tables import transition_table

if TYPE_CHECKING:
    from phonotune.schemas.transition import TransitionDocument

Depth = Annotated[
    int, typer.Option("--depth", metavar="N", min=0, help="Modes followed one after another.")
]
MaxAtoms = Annotated[
    int,
    typer.Option("--max-atoms", metavar="N", min=1, help="Most atoms in a cell that is relaxed."),
]


def transitions(
    structure: StructureFile,
    model: Model,
    output: OutputFolder,
    depth: Depth = 3,
    max_atoms: MaxAtoms = 40,
    json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Follow the imaginary phonon modes of a crystal to the phases below it, and theirs, to the end.

    Every distinct imaginary mode, in every direction that symmetry tells apart, is displaced to the
    minimum of E(Q) and relaxed, cell and ions; phases found before are recognised; phonons again.
    Energies in meV per formula unit, relative to the crystal given, which is relaxed first with its
    symmetry kept. A call that was interrupted goes on where it stopped, and a deeper one from where
    the last ended. Writes transitions.json, tree.png, pathways.png and a POSCAR of each phase.

    Example: phonotune transitions BaTiO3.cif --model teacher -o batio3-phases --depth 1
    """
    with session(as_json=json, debug=debug) as out:
        check_output_folder(output)
        from phonotune.cli.evaluating import load_task
        from phonotune.models.phases import resume_tree
        from phonotune.physics.transitions.branches import TransitionSettings

        crystal, evaluator, source = load_task(structure, model)
        settings = TransitionSettings(max_depth=depth, max_atoms=max_atoms)
        with out.progress("structures evaluated") as advance:
            document = resume_tree(crystal, evaluator, settings, source, advance)
        files = write_tree(document, output)
        out.finish(
            {"output": str(output), "files": files, "transitions": summary_of(document)},
            transition_table(document),
            f"{output}: {', '.join(files)}",
        )


def write_tree(document: TransitionDocument, folder: Path) -> list[str]:
    """Write the document, its figures and the cell of each phase; returns the names of the files."""
    from phonotune.report.plots import save_png
    from phonotune.report.plots_transitions import plot_pathways, plot_phase_tree

    folder.mkdir(parents=True, exist_ok=True)
    write_document(document, folder / TRANSITIONS)
    save_png(plot_phase_tree(document), folder / "tree.png")
    files = [TRANSITIONS, "tree.png"]
    if len(document.data.arrays()["path_branches"]):
        save_png(plot_pathways(document), folder / "pathways.png")
        files.append("pathways.png")
    for node, cell in zip(document.nodes, document.structures(), strict=True):
        name = f"phase_{node.id:02d}.vasp"
        comment = f"{document.formula} {node.space_group} {node.energy:.3f} meV/f.u."
        (folder / name).write_text(_poscar(cell, comment), encoding="utf-8")
        files.append(name)
    return files


def _poscar(cell: object, comment: str) -> str:
    from pymatgen.io.vasp import Poscar

    return str(Poscar(cell, comment=comment, sort_structure=True).get_str(significant_figures=12))
