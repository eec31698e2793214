"""``phonotune archive``: results as one file, and back into a store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from phonotune.cli.console import session
from phonotune.cli.options import AsJson, Debug, Store, check_output_file, flowing
from phonotune.cli.results import (
    Formula,
    Kind,
    Material,
    ModelId,
    Since,
    Strategy,
    Until,
    Where,
    open_results,
    parse_ranges,
    wanted_of,
)

app = typer.Typer(no_args_is_help=True, help="Archives of results: save, load.")

ArchiveFile = Annotated[
    Path, typer.Argument(metavar="FILE.tar.gz", help="The archive.", show_default=False)
]


def save(
    file: ArchiveFile,
    formula: Formula = None,
    strategy: Strategy = None,
    kind: Kind = None,
    material_id: Material = None,
    model_id: ModelId = None,
    since: Since = None,
    until: Until = None,
    where: Where = None,
    store: Store = None,
    json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Save results, all they come from, and their arrays into one file with hashes.

    Without a filter everything in the store is saved.

    Example: phonotune archive save batio3.tar.gz --formula BaTiO3
    """
    with session(as_json=json, debug=debug) as out:
        check_output_file(file)
        from phonotune.store import save_archive

        wanted = wanted_of(
            formula=formula,
            strategy=strategy,
            kind=kind,
            material_id=material_id,
            model_id=model_id,
            since=since,
            until=until,
            where=parse_ranges(where or []),
        )
        with open_results(store) as results:
            saved = save_archive(results, file, wanted)
        out.finish(
            {"archive": str(file), "documents": saved.documents, "arrays": saved.blobs},
            f"{saved.documents} documents with {saved.blobs} arrays: {file}",
        )


def load(
    file: ArchiveFile, store: Store = None, json: AsJson = False, debug: Debug = False
) -> None:
    """Load an archive into a store, after its hashes are checked; a second time changes nothing.

    Example: phonotune archive load batio3.tar.gz --store store.yaml
    """
    with session(as_json=json, debug=debug) as out:
        from phonotune.store import ResultStore, check_store, load_archive

        with ResultStore(check_store(store)) as results:
            loaded = load_archive(results, file)
        kept = f"; {loaded.kept} were there already" if loaded.kept else ""
        out.finish(
            {
                "archive": str(file),
                "documents": loaded.documents,
                "arrays": loaded.blobs,
                "kept": loaded.kept,
            },
            f"{loaded.documents} documents with {loaded.blobs} arrays loaded from {file}{kept}",
        )


for _command in (save, load):
    app.command(_command.__name__, help=flowing(_command))(_command)
