"""``phonotune compare``: models against their reference."""

from __future__ import annotations

import json as json_text
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from phonotune.cli.console import session
from phonotune.cli.documents import read_properties, summary_of
from phonotune.cli.options import AsJson, Debug, check_output_file
from phonotune.cli.tables import comparison_table

if TYPE_CHECKING:
    from phonotune.physics.compare import PropertySet


def compare(
    reference: Annotated[
        Path,
        typer.Argument(
            metavar="REFERENCE_DIR",
            help="Folder of the reference, or a phonopy yaml[.xz] with forces.",
            show_default=False,
        ),
    ],
    folders: Annotated[
        list[Path],
        typer.Argument(
            metavar="DIR",
            help="Folders written by `phonons`, `elastic`, `double-well`: one a model.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="JSON file to write.", show_default=False
        ),
    ] = None,
    json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Compare models with a reference: frequencies (THz) over the whole mesh, DOS, wells, moduli.

    Example: phonotune compare phonopy_params.yaml.xz untuned tuned
    """
    with session(as_json=json, debug=debug) as out:
        if output is not None:
            check_output_file(output)
        from phonotune.physics.compare import compare as compare_properties

        models = [read_properties(folder) for folder in folders]
        document = compare_properties(_reference(reference, models), models)
        content = summary_of(document)
        shown = [comparison_table(document)]
        if output is None:
            out.finish(content, *shown)
            return
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(json_text.dumps(content, indent=2, allow_nan=False), encoding="utf-8")
        out.finish(content, *shown, f"Comparison: {output}")


def _reference(path: Path, models: list[PropertySet]) -> PropertySet:
    """Read the reference; a phonopy yaml gets mesh and NAC of the first model's phonons."""
    if path.is_dir() or not path.exists():
        return read_properties(path)
    from phonotune.errors import InputError
    from phonotune.physics.compare import PropertySet
    from phonotune.physics.phonon import PhononSettings
    from phonotune.physics.phonon_files import read_phonopy_yaml
    from phonotune.schemas.base import Source

    phonons = next((model.phonon for model in models if model.phonon is not None), None)
    if phonons is None:
        raise InputError(
            f"{path} gives phonons, and none of the folders holds phonons.json. Write it with "
            "`phonotune phonons`."
        )
    source = Source(role="reference", evaluator=path.name)
    settings = PhononSettings.model_validate(phonons.settings)
    document = read_phonopy_yaml(path, settings, source, with_nac=phonons.has_nac)
    return PropertySet(source=source, phonon=document)
