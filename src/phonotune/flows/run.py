"""Crystals through the whole DAG on this machine: what is checked before, and what came out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from phonotune.errors import ConfigError
from phonotune.flows.local import FailedJob, Watcher, documents_of, run_flow

if TYPE_CHECKING:
    from jobflow import Flow, JobStore
    from pymatgen.core import Structure

    from phonotune.flows.campaign import CampaignMaker
    from phonotune.flows.pipeline import PhonotuneMaker
    from phonotune.jobs.vasp.protocol import LabelProtocol
    from phonotune.schemas.base import Document


@dataclass
class Outcome:
    """What came out of the flows of one command.

    Attributes
    ----------
    documents
        Of each crystal, by the name it is reported with, in the order of its flow.
    failed
        Jobs that failed.
    finished, reused
        Number of jobs that ran to their end, and of those whose results were in the store.
    """

    documents: dict[str, list[Document]] = field(default_factory=dict)
    failed: list[FailedJob] = field(default_factory=list)
    finished: int = 0
    reused: int = 0


def checked_flows(maker: PhonotuneMaker, crystals: Mapping[str, Structure]) -> dict[str, Flow]:
    """Return the flow of each crystal, once everything that can be known before has been checked.

    Raises
    ------
    ConfigError
        The labeller cannot run here, or the Maker refuses a setting.
    FoundationError, StructureError
        The foundation cannot be had, or does not know an element of a crystal.
    """
    maker = replace(maker, foundation=check_foundation(maker.foundation, crystals, maker.head))
    check_labeller(maker.labeller, crystals.values(), maker.vasp)
    return {name: maker.make(crystal) for name, crystal in crystals.items()}


def checked_campaign(campaign: CampaignMaker, crystals: Mapping[str, Structure]) -> dict[str, Flow]:
    """Return the flow of each crystal of a campaign, checked; raises as :func:`checked_flows`."""
    maker = campaign.maker
    for foundation in campaign.foundations or [maker.foundation]:
        check_foundation(foundation, crystals, maker.head)
    check_labeller(maker.labeller, crystals.values(), maker.vasp)
    return campaign.flows(crystals)


def run_flows(
    flows: Mapping[str, Flow],
    store: JobStore,
    folder: Path,
    watch: Callable[[str], AbstractContextManager[Watcher]],
) -> Outcome:
    """Run one flow after another; one that fails does not stop the others.

    Parameters
    ----------
    flows
        By the name of their crystal.
    store
        An open store; results already there are not computed again.
    folder
        Gets a folder for every job that writes files.
    watch
        Gives, for the name of a crystal, what is told of its jobs while they run.
    """
    outcome = Outcome()
    folder.mkdir(parents=True, exist_ok=True)
    for name, flow in flows.items():
        with watch(name) as watcher:
            summary = run_flow(flow, store, watcher, root_dir=folder.resolve())
        outcome.failed += [replace(job, material=name) for job in summary.failed]
        outcome.finished += summary.finished
        outcome.reused += summary.reused
        outcome.documents[name] = documents_of(summary.uuids, store)
    return outcome


def check_labeller(labeller: str, crystals: Iterable[Structure], protocol: LabelProtocol) -> None:
    """Refuse a labeller that lacks something before anything has started.

    VASP its program or a POTCAR of the crystals, a potential an element or its level of theory.
    """
    from phonotune.jobs.doctor import check_potcars, check_vasp
    from phonotune.jobs.labellers import potential_record
    from phonotune.models.engines import foundation_elements
    from phonotune.physics.supercell import check_structure

    if labeller == "vasp":
        missing = [f.text for f in (check_vasp(), check_potcars()) if f.state != "ok"]
        if missing:
            raise ConfigError(
                f"Labeller 'vasp' cannot run here: {'; '.join(missing)}. Set what is missing (`phonotune "
                "doctor` shows it) or choose another labeller with --labeller."
            )
        elements = {element.symbol for crystal in crystals for element in crystal.elements}
        protocol.check_potcars(sorted(elements))
    elif (potential := potential_record(labeller)) is not None:
        for crystal in crystals:
            check_structure(crystal, foundation_elements(potential), labeller)


def level_notes(maker: PhonotuneMaker, crystals: Mapping[str, Structure]) -> list[str]:
    """Return what to say where VASP labels on another level of theory than the foundation was made on."""
    from phonotune.jobs.vasp.presets import level_note
    from phonotune.models.engines import find_foundation
    from phonotune.models.foundation import made_on

    if maker.labeller != "vasp" or maker.label_maker is not None:
        return []
    record = find_foundation(maker.foundation, maker.head)
    notes = (
        level_note(record.label, made_on(record), maker.vasp.level, crystal.symbol_set)
        for crystal in crystals.values()
    )
    return list(dict.fromkeys(note for note in notes if note))


def check_foundation(
    foundation: str, crystals: Mapping[str, Structure], head: str | None = None
) -> str:
    """Return the foundation's name or absolute path; raise where an element or the head is unknown to it."""
    from phonotune.models.engines import find_foundation, foundation_elements
    from phonotune.physics.supercell import check_structure

    elements = foundation_elements(find_foundation(foundation, head))
    for crystal in crystals.values():
        check_structure(crystal, elements, foundation)
    return str(Path(foundation).resolve()) if Path(foundation).is_file() else foundation
