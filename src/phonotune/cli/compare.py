"""``phonotune compare``: models against their reference."""

from __future__ import annotations

import json as json_text
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from phonotune.cli.console import Session, session
from phonotune.cli.options import (
    AsJson,
    Debug,
    Masses,
    MassesOption,
    check_output_file,
    check_output_folder,
)
from phonotune.cli.tables import render
from phonotune.errors import InputError

if TYPE_CHECKING:
    from phonotune.physics.compare import PropertySet
    from phonotune.schemas.comparison import ComparisonDocument
    from phonotune.schemas.phonon import PhononDocument


def compare(
    reference: Annotated[
        Path,
        typer.Argument(
            metavar="REFERENCE_DIR",
            help="Folder of the reference, written by phonotune or with a phonopy calculation, or a "
            "phonopy yaml[.xz].",
            show_default=False,
        ),
    ],
    folders: Annotated[
        list[Path],
        typer.Argument(
            metavar="DIR",
            help="Folders written by `phonons`, `elastic`, `double-well`, ...: one per model.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="JSON file to write.", show_default=False
        ),
    ] = None,
    plots: Annotated[
        Path | None,
        typer.Option(
            "--plots",
            metavar="DIR",
            help="Folder for frequencies.png and branches.png.",
            show_default=False,
        ),
    ] = None,
    masses: MassesOption = Masses.stated,
    json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Compare models with a reference: frequencies (THz) over the whole mesh, DOS, wells, moduli.

    Meshes that converged differently are computed again on the denser one. --masses is for a reference
    of phonopy. With --plots: each mode,
    model against reference, and the error of each branch.

    Example: phonotune compare phonopy_params.yaml.xz untuned tuned --plots figures
    """
    with session(as_json=json, debug=debug) as out:
        if output is not None:
            check_output_file(output)
        if plots is not None:
            check_output_folder(plots)
        from phonotune.data.document_files import read_properties, summary_of
        from phonotune.physics.compare import compare as compare_properties
        from phonotune.report.tables_headline import comparison_table, deviation_table

        models = [read_properties(folder) for folder in folders]
        against = _reference(reference, models, masses, out)
        drawn = [] if plots is None else _drawn_phonons(against, models)
        document = compare_properties(against, models)
        content = summary_of(document)
        shown: list[Any] = [render(comparison_table(document)), render(deviation_table(document))]
        if output is not None:
            output.parent.mkdir(parents=True, exist_ok=True)
            output.write_text(json_text.dumps(content, indent=2, allow_nan=False), encoding="utf-8")
            shown.append(f"Comparison: {output}")
        if plots is not None:
            shown.append(f"{plots}: {', '.join(_write_plots(document, drawn, plots))}")
        out.finish(content, *shown)


def _drawn_phonons(reference: PropertySet, models: list[PropertySet]) -> list[PhononDocument]:
    """Return the phonons that --plots draws, the reference's first."""
    phonons = [model.phonon for model in models if model.phonon is not None]
    if reference.phonon is None or not phonons:
        raise InputError(
            "--plots draws phonons, and the reference or the models have none. Write phonons.json "
            "with `phonotune phonons`, or leave --plots out."
        )
    return [reference.phonon, *phonons]


def _write_plots(
    document: ComparisonDocument, phonons: list[PhononDocument], folder: Path
) -> list[str]:
    """Write the figures of reference and models; returns their names."""
    from phonotune.report.plots import plot_branches, plot_frequencies, save_png

    folder.mkdir(parents=True, exist_ok=True)
    figures = {
        "frequencies.png": plot_frequencies(phonons[0], phonons[1:]),
        "branches.png": plot_branches(document),
    }
    for name, figure in figures.items():
        save_png(figure, folder / name)
    return list(figures)


def _reference(path: Path, models: list[PropertySet], masses: Masses, out: Session) -> PropertySet:
    """Read the reference; a calculation of phonopy gets mesh and NAC of the first model's phonons."""
    from phonotune.data.document_files import holds_properties, read_properties
    from phonotune.physics.phonon.calculation import holds_calculation, read_calculation

    if (
        not path.exists()
        or holds_properties(path)
        or not (path.is_file() or holds_calculation(path))
    ):
        return read_properties(path)
    from phonotune.physics.compare import PropertySet
    from phonotune.physics.phonon.files import document_of_calculation
    from phonotune.physics.phonon.settings import PhononSettings
    from phonotune.schemas.base import Source
    from phonotune.schemas.masses import with_natural_masses

    phonons = next((model.phonon for model in models if model.phonon is not None), None)
    if phonons is None:
        raise InputError(
            f"{path} gives phonons, and none of the folders holds phonons.json. Write it with "
            "`phonotune phonons`."
        )
    found = read_calculation(path)
    if masses == "natural":
        found = replace(found, structure=with_natural_masses(found.structure))
    out.note(f"Reference: {', '.join(str(file) for file in found.files)}")
    for note in found.notes:
        out.note(f"Note: {note}.")
    if found.has_born and not phonons.has_nac:
        out.note(
            f"Note: the Born charges of {found.born_file or found.files[0]} are left out, since the phonons of "
            f"{phonons.source.evaluator} have none; compute them with `phonotune phonons --born`."
        )
    source = Source(role="reference", evaluator=path.name or path.resolve().name)
    settings = PhononSettings.model_validate(phonons.settings)
    document = document_of_calculation(found, settings, source, with_nac=phonons.has_nac)
    return PropertySet.of([document])
