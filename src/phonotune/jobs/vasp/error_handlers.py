"""Handlers that watch VASP while it labels, none of which may change the physics of a label.

custodian's own handlers change ALGO, SYMPREC, ISMEAR or the k-points until a run ends. These do not: a run
that has not converged is tried once more with other mixing and more steps, everything else ends it. There is
no handler of the walltime: a run of one point that is stopped before it has converged is not a label.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Final

from custodian.custodian import ErrorHandler
from custodian.utils import backup
from custodian.vasp.handlers import (
    VASP_BACKUP_FILES,
    FrozenJobErrorHandler,
    StdErrHandler,
    VaspErrorHandler,
)
from custodian.vasp.interpreter import VaspModder
from custodian.vasp.io import load_vasprun
from pymatgen.io.vasp import Incar

MIXING: Final = {"AMIX": 0.2, "BMIX": 0.0001, "AMIX_MAG": 0.8, "BMIX_MAG": 0.0001}
"""Linear mixing, slow and safe (VASP's manual); it moves the path to the ground state, not its end."""

WARNINGS: Final = frozenset(
    {"auto_nbands", "subspacematrix", "eddrmm", "amin", "symprec_noise", "dentet", "coef"}
)
"""Messages of custodian's list after which VASP goes on and may converge: the labels are checked anyway."""


class ElectronicConvergence(ErrorHandler):
    """Try once more with linear mixing and twice the steps; then let the run end as not converged.

    Parameters
    ----------
    output_filename
        Name of the vasprun.xml.
    """

    is_monitor = False
    raises_runtime_error = False

    def __init__(self, output_filename: str = "vasprun.xml") -> None:
        self.output_filename = output_filename

    def __str__(self) -> str:
        return "the electronic steps did not converge"

    def check(self, directory: str = "./") -> bool:
        """Return whether a complete run did not converge; an incomplete one is for the validators."""
        try:
            run = load_vasprun(str(Path(directory) / self.output_filename))
        except Exception:  # noqa: BLE001  whatever the parser meets, the file is not complete
            return False
        return not run.converged_electronic

    def correct(self, directory: str = "./") -> dict[str, Any]:
        """Set mixing and steps in INCAR, once."""
        incar = Incar.from_file(Path(directory) / "INCAR")
        errors = [str(self)]
        if all(incar.get(key) == value for key, value in MIXING.items()):
            return {"errors": errors, "actions": None}
        changed = {**MIXING, "NELM": 2 * int(incar.get("NELM", 60))}
        actions = [{"dict": "INCAR", "action": {"_set": changed}}]
        backup(VASP_BACKUP_FILES, directory=directory)
        VaspModder(directory=directory).apply_actions(actions)
        return {"errors": errors, "actions": actions}


class FatalMessage(ErrorHandler):
    """End a run as soon as VASP says that its result cannot be trusted.

    Parameters
    ----------
    output_filenames
        Files with VASP's messages.
    """

    is_monitor = True

    def __init__(self, output_filenames: tuple[str, ...] = ("vasp.out", "std_err.txt")) -> None:
        self.output_filenames = tuple(output_filenames)
        self.found: list[str] = []

    def __str__(self) -> str:
        return f"VASP said {'; '.join(self.found)}"

    def check(self, directory: str = "./") -> bool:
        """Return whether one of :func:`fatal_messages` stands in the output."""
        files = [Path(directory) / name for name in self.output_filenames]
        text = "\n".join(f.read_text(errors="replace") for f in files if f.is_file())
        self.found = [message for message in fatal_messages() if message in text]
        return bool(self.found)

    def correct(self, directory: str = "./") -> dict[str, Any]:
        """Correct nothing."""
        return {"errors": self.found, "actions": None}


class FrozenRun(FrozenJobErrorHandler):
    """End a run that has written nothing for a long time, instead of changing its ALGO."""

    uncounted_fields: ClassVar[tuple[str, ...]] = ("timeout",)

    def __str__(self) -> str:
        return f"VASP wrote nothing for {self.timeout:g} s"

    def correct(self, directory: str = "./") -> dict[str, Any]:
        """Correct nothing."""
        return {"errors": [str(self)], "actions": None}


def fatal_messages() -> tuple[str, ...]:
    """Return the messages that end a run: custodian's list without :data:`WARNINGS`."""
    known = VaspErrorHandler.error_msgs | StdErrHandler.error_msgs
    chosen = {name: texts for name, texts in known.items() if name not in WARNINGS}
    return tuple(dict.fromkeys(text for texts in chosen.values() for text in texts))


def label_handlers(frozen_seconds: float) -> list[ErrorHandler]:
    """Return the handlers of a labelling run.

    Parameters
    ----------
    frozen_seconds
        Seconds without output after which a run is ended.
    """
    return [FatalMessage(), ElectronicConvergence(), FrozenRun(timeout=frozen_seconds)]
