"""``phonotune transitions``: the phases that a crystal's imaginary modes lead to, by a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import typer

from phonotune.cli.console import session
from phonotune.cli.options import (
    AsJson,
    Debug,
    Head,
    Masses,
    MassesOption,
    Model,
    OutputFolder,
    StructureFile,
    check_output_folder,
)
from phonotune.cli.tables import render
from phonotune.schemas.labellers import labellers_in_words

if TYPE_CHECKING:
    pass

LABELS: Final = "labels.extxyz"

Depth = Annotated[
    int,
    typer.Option(
        "--depth", metavar="N", min=0, help="Longest chain of modes followed one after another."
    ),
]
MaxAtoms = Annotated[
    int,
    typer.Option("--max-atoms", metavar="N", min=1, help="Largest cell that is relaxed, in atoms."),
]
PhaseLabeller = Annotated[
    str | None,
    typer.Option(
        "--labeller",
        metavar="NAME",
        help=f"Labels the phases found, at the model's geometry: {labellers_in_words()}. Default: "
        "nobody.",
        show_default=False,
    ),
]


def transitions(
    structure: StructureFile,
    model: Model,
    output: OutputFolder,
    head: Head = None,
    depth: Depth = 3,
    max_atoms: MaxAtoms = 40,
    labeller: PhaseLabeller = None,
    masses: MassesOption = Masses.stated,
    json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Follow imaginary phonon modes from a crystal to the phases below it, and on from those.

    The crystal is relaxed with its symmetry kept. Along every distinct imaginary mode, in every
    direction that symmetry tells apart, it is displaced to the minimum of E(Q), and cell and ions are
    relaxed; the phonons of each new phase show whether to go on from there. Energies in meV per formula
    unit, relative to the crystal. An interrupted call continues where it stopped, and one with a larger
    --depth where the last one ended. Writes transitions.json, tree.png, pathways.png and a POSCAR of
    each phase.

    With --labeller the phases are labelled at the geometry that the model relaxed them to, and the table
    gives the labeller's energies and the errors of the model. Labels are kept in labels.extxyz; the same
    command again labels only what is missing. Exit code 1: a phase has no label.

    Example: phonotune transitions BaTiO3.cif --model teacher -o batio3-phases --depth 1
    """
    with session(as_json=json, debug=debug) as out:
        check_output_folder(output)
        from phonotune.cli.crystal import read_crystal
        from phonotune.data.document_files import summary_of, write_property
        from phonotune.flows.labelling import label_tree
        from phonotune.flows.run import check_labeller
        from phonotune.jobs.label import LabelMaker
        from phonotune.jobs.transitions import TransitionMaker
        from phonotune.physics.transitions.branches import TransitionSettings
        from phonotune.report.files import write_tree
        from phonotune.report.tables_transitions import phase_table

        crystal, record = read_crystal(structure, model, masses, out, head)
        maker = None
        if labeller is not None:
            maker = LabelMaker(labeller=labeller, max_force=None)
            maker.resolve()
            check_labeller(labeller, [crystal], maker.vasp)
        tree = TransitionMaker(settings=TransitionSettings(max_depth=depth, max_atoms=max_atoms))
        with out.progress("structures evaluated") as progress:
            document = tree.grow(crystal, record, progress)
        files = write_tree(document, output)
        if maker is not None:
            document = label_tree(document, maker, output / LABELS, out.progress, out.note)
            write_property(document, output)
            files += [LABELS] if (output / LABELS).is_file() else []
        out.finish(
            {"output": str(output), "files": files, "transitions": summary_of(document)},
            render(phase_table(document)),
            f"{output}: {', '.join(files)}",
            exit_code=int(any(n.label is not None and n.label.reason for n in document.nodes)),
        )
