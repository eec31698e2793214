"""Options and arguments that several commands share, with their grammar."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from typer.core import TyperCommand, TyperOption

from phonotune.errors import ConfigError, InputError
from phonotune.jobs.vasp.presets import PRESETS
from phonotune.schemas.kinds import property_kinds
from phonotune.schemas.labellers import labellers_in_words

if TYPE_CHECKING:
    from phonotune.schemas.base import Matrix3

AsJson = Annotated[
    bool, typer.Option("--json", help="Print one JSON object on stdout instead of a table.")
]
Debug = Annotated[
    bool,
    typer.Option(
        "--debug", envvar="PHONOTUNE_DEBUG", help="Show warnings and the traceback of an error."
    ),
]
StructureFile = Annotated[
    Path,
    typer.Argument(
        metavar="STRUCTURE",
        help="Crystal structure: POSCAR, CIF, or whatever else pymatgen reads.",
        show_default=False,
    ),
]
StructureFiles = Annotated[
    list[Path],
    typer.Argument(
        metavar="STRUCTURE", help="Crystal structures: POSCAR, CIF, ...", show_default=False
    ),
]
Model = Annotated[
    str,
    typer.Option(
        "--model",
        metavar="DIR|NAME|FILE|ase:MODULE:CALLABLE",
        help="Folder written by `finetune`, name of a foundation model, a MACE model file, or any ASE "
        "calculator, e.g. ase:ase.calculators.emt:EMT.",
        show_default=False,
    ),
]
OutputFolder = Annotated[
    Path,
    typer.Option("--output", "-o", metavar="DIR", help="Folder to write.", show_default=False),
]
Supercell = Annotated[
    str | None,
    typer.Option(
        "--supercell",
        metavar="A B C",
        help="Supercell: 3 integers (diagonal) or 9 (matrix, row by row; rows are the supercell "
        "vectors). Default: as cubic as possible, no edge below 10 Å.",
        show_default=False,
    ),
]
Relax = Annotated[
    bool,
    typer.Option(
        "--relax", help="Let the model relax cell and ions first, with the symmetry kept."
    ),
]


class Masses(StrEnum):
    """Which masses the atoms of a crystal have."""

    stated = "stated"
    natural = "natural"


MassesOption = Annotated[
    Masses,
    typer.Option(
        "--masses",
        metavar="stated|natural",
        help="Masses of the atoms: what the file states (D, T, isotopes), or natural ones whatever it "
        "states.",
    ),
]
Born = Annotated[
    Path | None,
    typer.Option(
        "--born",
        metavar="FILE",
        help="phonopy's BORN file: Born charges (e) and dielectric tensor, for LO-TO splitting.",
        show_default=False,
    ),
]
BornChoice = Annotated[
    str | None,
    typer.Option(
        "--born",
        metavar="auto|off|FILE",
        help="Born charges for LO-TO splitting: those of insulators computed by the labeller where it can "
        "(auto, the default), none (off), or phonopy's BORN file.",
        show_default=False,
    ),
]
Store = Annotated[
    Path | None,
    typer.Option(
        "--store",
        metavar="FILE",
        help="Job store: a folder, or a jobflow yaml. Default: PHONOTUNE_STORE, else "
        "~/.local/share/phonotune/store.",
        show_default=False,
    ),
]

AllowMixed = Annotated[
    bool,
    typer.Option(
        "--allow-mixed",
        help="Accept frames of several labellers or settings; the dataset records it.",
    ),
]
EnergyKey = Annotated[
    str | None,
    typer.Option(metavar="KEY", help="Name of the energy (eV) in extxyz.", show_default=False),
]
ForcesKey = Annotated[
    str | None,
    typer.Option(metavar="KEY", help="Name of the forces (eV/Å) in extxyz.", show_default=False),
]
StressKey = Annotated[
    str | None,
    typer.Option(
        metavar="KEY",
        help="Name of the stress in extxyz (eV/Å³, nine numbers or six as ASE orders them, ASE's sign), or "
        "of a virial (eV) if `virial` is in its name.",
        show_default=False,
    ),
]

ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="YAML with fields of PhonotuneMaker; options given here replace them.",
        show_default=False,
    ),
]
FoundationName = Annotated[
    str | None,
    typer.Option(
        "--foundation",
        metavar="NAME|FILE|ase:MODULE:CALLABLE",
        help="Foundation model, or a potential of `phonotune models add` or an ASE calculator, which no "
        "strategy can tune (--strategy none). Default: mace-mp-0b3.",
        show_default=False,
    ),
]
Head = Annotated[
    str | None,
    typer.Option(
        "--head",
        metavar="NAME",
        help="Head of a multi-head foundation (`phonotune models list`), e.g. omat_pbe of mh-1.",
        show_default=False,
    ),
]
LabellerName = Annotated[
    str | None,
    typer.Option(
        "--labeller",
        metavar="NAME",
        help=f"Who labels frames and is the reference: {labellers_in_words('vasp')}.",
        show_default=False,
    ),
]
LabelPreset = Annotated[
    str | None,
    typer.Option(
        "--label-preset",
        metavar="NAME",
        help="Level of theory of the labeller vasp, best that of the foundation (`phonotune models list`). "
        f"{'; '.join(f'{name}: {row.summary}' for name, row in PRESETS.items())}. Default: pbe.",
        show_default=False,
    ),
]
Strategies = Annotated[
    list[str] | None,
    typer.Option(
        "--strategy",
        metavar="NAME",
        help="Fine-tuning strategy, one model each; repeatable: {strategies}; or none. Default: lora.",
        show_default=False,
    ),
]
Properties = Annotated[
    list[str] | None,
    typer.Option(
        "--property",
        metavar="NAME",
        help=f"What is computed and compared; repeatable: {', '.join(property_kinds())}. Default: "
        "phonon, elastic, well.",
        show_default=False,
    ),
]

_INTEGER: Final = re.compile(r"[-+]?\d+")


def flowing(function: Callable[..., object]) -> str:
    """Return a docstring with one line per paragraph, so that it fits a screen of any width."""
    paragraphs = inspect.cleandoc(function.__doc__ or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def join_integers(arguments: list[str], option: str) -> list[str]:
    """Join the integers that follow ``option`` into its one value.

    ``--supercell 2 2 2 POSCAR`` becomes ``--supercell "2 2 2" POSCAR``: the grammar of click knows
    only options with a fixed number of values.
    """
    joined: list[str] = []
    pending = list(arguments)
    while pending:
        joined.append(pending.pop(0))
        if joined[-1] != option:
            continue
        values = []
        while pending and _INTEGER.fullmatch(pending[0]):
            values.append(pending.pop(0))
        if values:
            joined.append(" ".join(values))
    return joined


class SupercellCommand(TyperCommand):
    """A command whose ``--supercell`` takes 3 or 9 separate integers as well as one quoted text."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments after joining the integers of ``--supercell``."""
        return super().parse_args(ctx, join_integers(args, "--supercell"))


class StrategyCommand(TyperCommand):
    """A command whose help is filled from the registry of strategies, which only help reads."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help with ``{strategies}``, ``{summaries}`` and ``{keys}`` filled in."""
        from phonotune.training.config import describe_keys
        from phonotune.training.strategies import STRATEGIES

        filling = {
            "{strategies}": ", ".join(STRATEGIES),
            "{summaries}": "; ".join(f"{name}: {row.summary}" for name, row in STRATEGIES.items()),
            "{keys}": describe_keys(),
        }
        options = [p for p in self.params if isinstance(p, TyperOption)]
        templates = [option.help for option in options]
        for option in options:
            for placeholder, content in filling.items():
                option.help = (option.help or "").replace(placeholder, content)
        super().format_help(ctx, formatter)
        for option, template in zip(options, templates, strict=True):
            option.help = template


def parse_supercell(text: str | None) -> Matrix3 | None:
    """Return the supercell matrix of ``"2 2 2"`` or of nine integers.

    Raises
    ------
    ConfigError
        If the text is not 3 or 9 integers, or the matrix is singular.
    """
    if text is None:
        return None
    words = text.replace(",", " ").split()
    if not all(_INTEGER.fullmatch(word) for word in words) or len(words) not in (3, 9):
        raise ConfigError(
            f"--supercell takes 3 or 9 integers, for example `--supercell 2 2 2`; found {text!r}."
        )
    from phonotune.physics.supercell import as_matrix

    return as_matrix([int(word) for word in words])


def given_keys(energy: str | None, forces: str | None, stress: str | None) -> dict[str, str]:
    """Return the names of labels that were given, by label."""
    given = {"energy": energy, "forces": forces, "stress": stress}
    return {name: key for name, key in given.items() if key is not None}


def check_output_folder(folder: Path) -> None:
    """Raise InputError, before any work, where a folder cannot be written."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; -o takes a folder.")
    _check_writable(folder)


def check_output_file(path: Path) -> None:
    """Raise InputError, before any work, where a file cannot be written."""
    if path.is_dir():
        raise InputError(f"{path} is a folder; -o takes a file.")
    _check_writable(path)


def check_frames_output(path: Path) -> None:
    """Raise InputError, before any work, where frames cannot be written to a file, or not compressed so."""
    check_output_file(path)
    if path.suffix.lower() in (".z", ".zst", ".lzma", ".lz4", ".zip", ".7z", ".tar", ".tgz"):
        raise InputError(
            f"{path} cannot be written: frames are written plain, or compressed as .gz, .bz2 or .xz."
        )


def _check_writable(path: Path) -> None:
    there = path.absolute()
    while not there.exists():
        there = there.parent
    if there != path.absolute() and not there.is_dir():
        raise InputError(f"{path} cannot be written: {there} is a file, not a folder.")
    if not os.access(there, os.W_OK):
        raise InputError(f"{path} cannot be written: no permission for {there}.")
