"""Many crystals through the same DAG, as one flow, and the tables of what came out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pandas as pd
from jobflow import Flow, Maker
from pymatgen.core import Structure

from phonotune.errors import StructureError
from phonotune.flows.pipeline import PhonotuneMaker
from phonotune.flows.routing import label_jobs
from phonotune.schemas.base import Document, structure_hash
from phonotune.schemas.kinds import KINDS
from phonotune.store import ResultStore

MATERIALS: Final = "materials.csv"


@dataclass
class CampaignMaker(Maker):
    """The DAG of every crystal of a list, as one Flow whose jobs name their crystal and campaign.

    Parameters
    ----------
    maker
        The DAG of one crystal.
    """

    name: str = "campaign"
    maker: PhonotuneMaker = field(default_factory=PhonotuneMaker)

    def make(self, structures: Mapping[str, Structure]) -> Flow:
        """Return one flow that holds one flow per crystal.

        Parameters
        ----------
        structures
            Unit cells by name.

        Raises
        ------
        StructureError
            There is none, or two are the same.
        """
        flows = self.flows(structures)
        return Flow(list(flows.values()), name=self.name)

    def flows(self, structures: Mapping[str, Structure]) -> dict[str, Flow]:
        """Return the flow of each crystal by its name; raises StructureError as :meth:`make`."""
        check_crystals(structures)
        made = {}
        for name, structure in structures.items():
            made[name] = self.maker.make(structure)
            label_jobs(made[name], {**about(structure), "campaign": self.name})
        return made


def about(structure: Structure) -> dict[str, str]:
    """Return what the jobs of a crystal say of it: ``formula`` and ``material_id``."""
    return {"formula": structure.reduced_formula, "material_id": structure_hash(structure)}


def check_crystals(structures: Mapping[str, Structure]) -> None:
    """Refuse an empty list, and a crystal that is there twice: it would be computed twice.

    Raises
    ------
    StructureError
        Naming both.
    """
    if not structures:
        raise StructureError("The campaign has no crystal. Name files under `structures`.")
    seen: dict[str, str] = {}
    for name, structure in structures.items():
        first = seen.setdefault(structure_hash(structure), name)
        if first != name:
            raise StructureError(f"{first} and {name} are the same crystal. Remove one of them.")


def write_tables(
    structures: Mapping[str, Structure],
    documents: Mapping[str, Sequence[Document]],
    results: ResultStore,
    folder: Path,
) -> list[Path]:
    """Write a csv of the crystals, and one of each kind of result.

    Parameters
    ----------
    structures
        Crystals by name.
    documents
        What each has given so far.
    results
        Its store tabulates.
    folder
        Where; made if missing.

    Returns
    -------
    list
        The files written: ``materials.csv``, ``phonons.csv``, ...; a kind without results has none.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = [
        {
            "structure": name,
            **about(structure),
            "n_atoms": len(structure),
            "documents": len(documents[name]),
            "compared": any(d.kind == "comparison" for d in documents[name]),
        }
        for name, structure in structures.items()
    ]
    tables = {MATERIALS: pd.DataFrame(rows)}
    for kind in KINDS.values():
        chosen = [
            (name, d) for name, found in documents.items() for d in found if d.kind == kind.name
        ]
        if chosen and kind.csv:
            frame = results.to_dataframe([document for _, document in chosen])
            frame.insert(0, "structure", [name for name, _ in chosen])
            tables[kind.csv] = frame
    for file, frame in tables.items():
        frame.to_csv(folder / file, index=False)
    return [folder / file for file in tables]
