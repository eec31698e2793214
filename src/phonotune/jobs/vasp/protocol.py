"""The label protocol of VASP: every choice that a label depends on, with a hash.

Why these choices: forces must be derivatives of the energy and equal from frame to frame.

* PBE, ENCUT 520 eV, PREC Accurate, LASPH: what models of the Materials Project are trained near.
* EDIFF 1e-7 eV for every cell: an EDIFF that grows with the cell ruins forces.
* LREAL off, ADDGRID off: no noise in forces from projections in real space.
* ISYM 0: displaced cells are not symmetrised.
* KSPACING 0.22 1/Å, centred on Γ: the spacing that the Materials Project takes for metals, the densest of
  its gap-dependent scheme. It is fixed, so that the mesh does not depend on a gap that is not yet known,
  and cells of one material have like meshes.
* ISMEAR 0, SIGMA 0.05 eV: Gaussian smearing changes nothing where the gap is wide and holds for metals at
  that spacing; tetrahedra give metals wrong forces, Methfessel-Paxton gives insulators wrong occupations.
  Labels are free energies, whose derivatives the forces are.
* ISPIN 2 from starting moments by element; LORBIT 10 prints those it ends with. No +U unless a preset or
  ``user_incar_settings`` bring one.
* One family of POTCARs, PBE_54, with the Materials Project's choice of valence by element.

Functional, +U, POTCARs and cutoff of another level of theory: :mod:`phonotune.jobs.vasp.presets`.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import Field, field_validator, model_validator

from phonotune.errors import ConfigError
from phonotune.jobs.vasp.presets import PRESETS, PresetName
from phonotune.schemas.base import Part, hash_json
from phonotune.units import BohrMagneton, ElectronVolt, Second, Unit

if TYPE_CHECKING:
    from collections.abc import Iterable

    from atomate2.vasp.jobs.core import RelaxMaker, StaticMaker
    from pymatgen.core import Structure

    from phonotune.jobs.vasp.input_set import LabelInputGenerator

PerAngstrom = Annotated[float, Unit("1/Å")]

PARALLEL: Final = frozenset({"NCORE", "NPAR", "KPAR", "NSIM", "LPLANE", "LSCALU", "LSCALAPACK"})
"""INCAR keys that split work over processors: not in the hash, since no label depends on them."""

LINEAR_RESPONSE: Final[dict[str, Any]] = {"LEPSILON": True, "ISYM": None}
"""Changes of INCAR for Born charges: density functional perturbation theory, in the symmetric cell."""

_FIELDS: Final = {"ENCUT": "encut", "EDIFF": "ediff", "KSPACING": "kspacing", "NELM": "nelm"}
_FIELDS_TOO: Final = {"ISMEAR": "ismear", "SIGMA": "sigma"}
_STATIC: Final = frozenset({"NSW", "IBRION", "ISIF"})
_FUNCTIONAL: Final = frozenset({"GGA", "METAGGA", "LHFCALC", "LDAU", "LDAUU", "IVDW", "LUSE_VDW"})


class VaspMonitoring(Part):
    """How a run of VASP is watched; no result depends on it, and it is not in the protocol's hash."""

    polling_seconds: Second = Field(default=10.0, gt=0, description="between two looks at VASP")
    monitor_every: int = Field(default=30, gt=0, description="looks between two of the handlers")
    frozen_seconds: Second = Field(
        default=21_600.0, gt=0, description="without a line of output after which VASP is stopped"
    )


class LabelProtocol(Part):
    """Every choice of a VASP label; frozen, hashable, and all of it in :attr:`hash`.

    ``potcars`` and ``magnetic_moments`` may name some elements only: the rest is filled in from the tables of
    preset and atomate2, so that the whole choice stands in the object. What is given goes before the preset.
    """

    preset: PresetName = Field(default="pbe", description="functional, +U, POTCARs and cutoff")

    encut: ElectronVolt = Field(default=520.0, ge=520.0, description="plane-wave cutoff")
    ediff: ElectronVolt = Field(default=1e-7, gt=0, le=1e-6, description="electronic convergence")
    kspacing: PerAngstrom = Field(default=0.22, gt=0, le=1.0, description="Γ-centred mesh")
    ismear: int = Field(default=0, ge=-5, le=2, description="0 is Gaussian smearing")
    sigma: ElectronVolt = Field(default=0.05, gt=0, description="width of the smearing")
    nelm: int = Field(default=200, ge=20, description="electronic steps of the first attempt")
    potcar_family: Literal["PBE", "PBE_52", "PBE_54", "PBE_64"] = "PBE_54"
    potcars: dict[str, str] = Field(default={}, validate_default=True)
    magnetic_moments: dict[str, BohrMagneton] = Field(default={}, validate_default=True)
    user_incar_settings: dict[str, Any] = Field(
        default={}, description="any other key of INCAR, e.g. LDAU or MAGMOM, in atomate2's form"
    )

    @model_validator(mode="before")
    @classmethod
    def _take_preset(cls, given: Any) -> Any:
        preset = PRESETS.get(given.get("preset", "")) if isinstance(given, dict) else None
        if preset is None:
            return given
        potcars = preset.potcars() | dict(given.get("potcars", {}))
        return {**preset.fields, **given, "potcars": potcars}

    @field_validator("potcars", mode="before")
    @classmethod
    def _all_potcars(cls, given: dict[str, str]) -> dict[str, str]:
        return _tables()[0] | given

    @field_validator("magnetic_moments", mode="before")
    @classmethod
    def _all_moments(cls, given: dict[str, float]) -> dict[str, float]:
        return _tables()[1] | given

    @field_validator("user_incar_settings")
    @classmethod
    def _other_keys(cls, given: dict[str, Any]) -> dict[str, Any]:
        keys = {key.upper(): value for key, value in given.items()}
        for key in keys.keys() & (_FIELDS | _FIELDS_TOO).keys():
            raise ValueError(f"{key} is set by the field {(_FIELDS | _FIELDS_TOO)[key]}")
        for key in sorted(keys.keys() & _STATIC):
            raise ValueError(f"{key} may not be set: a label is one point at rest")
        return keys

    def __hash__(self) -> int:
        return hash(self.hash)

    @property
    def hash(self) -> str:
        """sha256 (hexadecimal) over every choice but :data:`PARALLEL`."""
        content = self.model_dump(mode="json", exclude={"preset"} if self.preset == "pbe" else None)
        settings = content["user_incar_settings"]
        content["user_incar_settings"] = {k: v for k, v in settings.items() if k not in PARALLEL}
        return hash_json({"code": "VASP", "incar": self.base_incar()} | content)

    @property
    def level(self) -> str:
        """Level of theory, such as ``PBE+U``; empty where ``user_incar_settings`` change that of the preset."""
        changed = _FUNCTIONAL & self.user_incar_settings.keys()
        return "" if changed else PRESETS[self.preset].level

    def base_incar(self) -> dict[str, Any]:
        """Return the INCAR but for what depends on the structure and for the user's keys."""
        incar = {
            "GGA": "PE",
            "PREC": "Accurate",
            "ALGO": "Normal",
            "ENCUT": self.encut,
            "EDIFF": self.ediff,
            "KSPACING": self.kspacing,
            "KGAMMA": True,
            "ISMEAR": self.ismear,
            "SIGMA": self.sigma,
            "NELM": self.nelm,
            "NSW": 0,
            "ISPIN": 2,
            "ISYM": 0,
            "LREAL": False,
            "ADDGRID": False,
            "LASPH": True,
            "LWAVE": False,
            "LCHARG": False,
            "LORBIT": 10,
        } | PRESETS[self.preset].all_incar()
        return {key: value for key, value in incar.items() if value is not None}

    def generator(self, **incar: Any) -> LabelInputGenerator:
        """Return the input set generator; ``incar`` replaces keys of the protocol, None drops one."""
        from phonotune.jobs.vasp.input_set import LabelInputGenerator

        base = {
            key: value for key, value in (self.base_incar() | incar).items() if value is not None
        }
        return LabelInputGenerator(
            config_dict={
                "INCAR": base | {"MAGMOM": self.magnetic_moments},
                "KPOINTS": {},
                "POTCAR": self.potcars,
                "POTCAR_FUNCTIONAL": self.potcar_family,
            },
            user_incar_settings=self.user_incar_settings,
            auto_ismear=False,
            auto_metal_kpoints=False,
            inherit_incar=False,
        )

    def maker(self, monitoring: VaspMonitoring | None = None) -> StaticMaker:
        """Return atomate2's static maker of this protocol, watched by our handlers alone.

        A run that does not converge comes back as a document that says so: it is rejected with that
        reason, instead of being a job that failed.
        """
        from atomate2.vasp.jobs.core import StaticMaker

        from phonotune.jobs.vasp.error_handlers import label_handlers

        watch = monitoring or VaspMonitoring()
        return StaticMaker(
            name="vasp static",
            input_set_generator=self.generator(),
            run_vasp_kwargs={
                "handlers": label_handlers(watch.frozen_seconds),
                "custodian_kwargs": _polling(watch),
            },
            stop_children_kwargs={"handle_unsuccessful": False},
        )

    def relax_maker(self, monitoring: VaspMonitoring | None = None) -> RelaxMaker:
        """Return atomate2's maker that relaxes cell and ions by this protocol, symmetry kept.

        Its handlers are atomate2's: the geometry it ends with is an input, not a label.
        """
        from atomate2.vasp.jobs.core import RelaxMaker

        relax = {"NSW": 99, "IBRION": 2, "ISIF": 3, "EDIFFG": -1e-3, "ISYM": None}
        return RelaxMaker(
            name="vasp relax",
            input_set_generator=self.generator(**relax),
            run_vasp_kwargs={"custodian_kwargs": _polling(monitoring or VaspMonitoring())},
        )

    def born_maker(self, monitoring: VaspMonitoring | None = None) -> StaticMaker | None:
        """Return the static maker of this protocol with the linear response to an electric field.

        None for a meta-GGA or a hybrid, whose linear response VASP does not have.
        """
        incar = self.base_incar() | self.user_incar_settings
        if incar.get("METAGGA") or incar.get("LHFCALC"):
            return None
        made = self.maker(monitoring)
        response = self.generator(**LINEAR_RESPONSE)
        return replace(made, name="vasp born", input_set_generator=response)

    def incar(self, structure: Structure, **changes: Any) -> dict[str, Any]:
        """Return the whole INCAR of a structure, whose sites are sorted by electronegativity.

        ``changes`` are those of :meth:`generator`.
        """
        chosen = self.generator(**changes)
        return dict(chosen.get_input_set(structure, potcar_spec=True)["INCAR"])

    def potcar_symbols(self, structure: Structure) -> list[str]:
        """Return the POTCAR symbols in the order of the POTCAR of a structure."""
        sites = structure.get_sorted_structure()
        elements = dict.fromkeys(site.specie.symbol for site in sites)
        return [self.potcars.get(element, element) for element in elements]

    def check_potcars(self, elements: Iterable[str]) -> None:
        """Refuse elements whose POTCAR is not where pymatgen looks.

        Parameters
        ----------
        elements
            Chemical symbols.

        Raises
        ------
        ConfigError
            No folder is set, or POTCARs of the family are missing in it.
        """
        from pymatgen.core import SETTINGS

        wanted = [self.potcars.get(element, element) for element in elements]
        folder = SETTINGS.get("PMG_VASP_PSP_DIR")
        missing = [symbol for symbol in wanted if not _has_potcar(symbol, self.potcar_family)]
        if missing:
            raise ConfigError(
                f"No POTCAR of {', '.join(missing)} in the family {self.potcar_family} was found in "
                f"{folder or 'PMG_VASP_PSP_DIR, which is not set'}. Point PMG_VASP_PSP_DIR to a folder "
                "made by `pmg config -p`, or name other POTCARs in the protocol's `potcars`."
            )


def _polling(monitoring: VaspMonitoring) -> dict[str, Any]:
    return {
        "polling_time_step": monitoring.polling_seconds,
        "monitor_freq": monitoring.monitor_every,
    }


def _has_potcar(symbol: str, family: str) -> bool:
    from pymatgen.io.vasp import PotcarSingle

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            PotcarSingle.from_symbol_and_functional(symbol, family)
    except (OSError, ValueError):
        return False
    return True


@lru_cache(maxsize=1)
def _tables() -> tuple[dict[str, str], dict[str, float]]:
    """Return POTCAR symbols and starting moments by element, from atomate2's base set."""
    from atomate2.vasp.sets.base import VaspInputGenerator

    config = VaspInputGenerator().config_dict
    return dict(config["POTCAR"]), {k: float(v) for k, v in config["INCAR"]["MAGMOM"].items()}
