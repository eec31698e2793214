"""``phonotune double-well``: the potential along the softest phonon mode by a model."""

from __future__ import annotations

from phonotune.cli.console import session
from phonotune.cli.documents import WELL, summary_of, write_document
from phonotune.cli.options import (
    AsJson,
    Debug,
    Model,
    OutputFolder,
    StructureFile,
    Supercell,
    check_output_folder,
    parse_supercell,
)
from phonotune.cli.tables import well_table


def double_well(
    structure: StructureFile,
    model: Model,
    output: OutputFolder,
    supercell: Supercell = None,
    json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Follow the softest phonon mode of a crystal: E(Q), its depth and Q0.

    Depth in meV per formula unit, Q in Å·sqrt(amu). The phonons are computed first (--supercell is
    theirs); the mode is then displaced in its smallest commensurate supercell. Writes well.json and
    well.png.

    Example: phonotune double-well BaTiO3.cif --model teacher -o batio3-well
    """
    with session(as_json=json, debug=debug) as out:
        matrix = parse_supercell(supercell)
        check_output_folder(output)
        from phonotune.cli.evaluating import compute_phonons, load_task
        from phonotune.physics.phonon import PhononSettings
        from phonotune.physics.wells import WellSettings, analyse_well, plan_well
        from phonotune.report.plots import plot_well, save_png

        crystal, evaluator, source = load_task(structure, model)
        settings = PhononSettings(supercell_matrix=matrix)
        phonons = compute_phonons(crystal, evaluator, source, settings, out)
        plan = plan_well(crystal, phonons, WellSettings())
        with out.progress(f"{len(plan.structures)} amplitudes"):
            answers = evaluator(plan.structures)
        document = analyse_well(plan, answers, source)
        output.mkdir(parents=True, exist_ok=True)
        write_document(document, output / WELL)
        save_png(plot_well([document]), output / "well.png")
        out.finish(
            {"output": str(output), "files": [WELL, "well.png"], "well": summary_of(document)},
            well_table(document),
            f"{output}: {WELL}, well.png",
        )
