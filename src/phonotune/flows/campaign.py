"""Many crystals through the same DAG, as one flow, and the tables of what came out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any, Final

import pandas as pd
from jobflow import Flow, Maker
from pymatgen.core import Structure

from phonotune.errors import ConfigError, StructureError
from phonotune.flows.pipeline import PhonotuneMaker, Training
from phonotune.flows.routing import label_jobs
from phonotune.schemas.base import Document, structure_hash
from phonotune.schemas.kinds import KINDS
from phonotune.store import ResultStore
from phonotune.training.config import build_config
from phonotune.training.strategies import find_strategy

MATERIALS: Final = "materials.csv"


@dataclass
class CampaignMaker(Maker):
    """The DAG of every crystal of a list, as one Flow whose jobs name their crystal and campaign.

    Every strategy is trained with every recipe that it knows, number of frames, seed and foundation. What
    trainings of a crystal share is done once: its frames are sampled with the first foundation and labelled,
    the largest number of them; a smaller number is the first of these (:class:`SubsetMaker`).

    Parameters
    ----------
    maker
        The DAG of one crystal.
    foundations
        Names or files of foundations; empty: the Maker's own.
    recipes
        Recipes of the strategies; empty: what the Maker's options say.
    frames
        Numbers of training frames, beside which ``select.n_valid`` more validate; empty: all that
        ``select.budget`` pays for.
    seeds
        Seeds of the trainings; empty: what the Maker's options say. Sampling has the Maker's seed.
    """

    name: str = "campaign"
    maker: PhonotuneMaker = field(default_factory=PhonotuneMaker)
    foundations: list[str] = field(default_factory=list)
    recipes: list[str] = field(default_factory=list)
    frames: list[int] = field(default_factory=list)
    seeds: list[int] = field(default_factory=list)

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
        maker, trainings = self.sampler(), self.trainings()
        frames: list[int | None] = [*sorted(self.frames)] or [None]
        made = {}
        for name, structure in structures.items():
            made[name] = maker.study(structure, trainings, self.foundations, frames)
            label_jobs(made[name], {**about(structure), "campaign": self.name})
        return made

    def sampler(self) -> PhonotuneMaker:
        """Return the DAG of one crystal with the first foundation and labels for the most frames."""
        maker = self.maker
        if self.foundations:
            maker = replace(maker, foundation=self.foundations[0])
        if self.frames:
            budget = maker.select.n_valid + max(self.frames)
            maker = replace(maker, select=maker.select.model_copy(update={"budget": budget}))
        return maker

    def trainings(self) -> list[Training]:
        """Return what is trained for every crystal.

        Raises
        ------
        ConfigError
            A strategy, recipe or option that nobody knows, or a strategy that knows none of the recipes.
        """
        made = []
        numbers: list[int | None] = [*sorted(self.frames)] or [None]
        recipes: list[str | None] = [*self.recipes] or [None]
        seeds: list[int | None] = [*self.seeds] or [None]
        foundations = self.foundations or [self.maker.foundation]
        grid = product(numbers, foundations, self.maker.strategies, recipes, seeds)
        for frames, foundation, strategy, recipe, seed in grid:
            if recipe is not None and recipe not in self.known_recipes(strategy):
                continue
            given = {"recipe": recipe, "seed": seed}
            options = {key: value for key, value in given.items() if value is not None}
            parts = [
                strategy,
                f"recipe {recipe}" if len(self.recipes) > 1 else "",
                f"{frames} frames" if frames is not None else "",
                f"seed {seed}" if len(self.seeds) > 1 else "",
                foundation if len(self.foundations) > 1 else "",
            ]
            name = ", ".join(filter(None, parts))
            config = build_config(strategy, {**self.maker.options.get(strategy, {}), **options})
            made.append(Training(name, config, foundation, frames))
        return made

    def known_recipes(self, strategy: str) -> list[str]:
        """Return those of the recipes that a strategy knows; raises ConfigError where it knows none."""
        known = ["default", *find_strategy(strategy).options.RECIPES]
        found = [recipe for recipe in self.recipes if recipe in known]
        if self.recipes and not found:
            raise ConfigError(
                f"Strategy {strategy!r} knows none of the recipes {', '.join(self.recipes)}. It knows "
                f"{', '.join(known)}; add one of them to `recipes`."
            )
        return found


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
    from phonotune.report.study import write_study  # draws; a flow needs no matplotlib

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
    return [*(folder / file for file in tables), *write_study(documents, folder)]
