"""Settings of the sampling: how cells are rattled, and which frames of their relaxations are labelled."""

from __future__ import annotations

from typing import Final, Literal, Self

from pydantic import Field, field_validator, model_validator

from phonotune.errors import ConfigError, unknown_name
from phonotune.sampling.displace import DISPLACERS
from phonotune.sampling.pool import Needs
from phonotune.sampling.select_methods import METHODS
from phonotune.schemas.base import Part
from phonotune.units import Angstrom, Dimensionless, Kelvin, Percent, TeraHertz

SupercellSize = Literal["primitive", "small", "large"]
SHORTEST_VECTORS: Final[dict[SupercellSize, float]] = {"small": 5.0, "large": 10.0}
"""Shortest supercell vector, Å, by the name of the size; the smallest cell that reaches it is taken."""


class RattleSettings(Part):
    """How cells are rattled; the defaults are the recipe of arXiv 2604.01017 and two small rattles.

    ``supercell``, ``shape``, ``min_length`` and ``max_atoms`` say which supercell is made before it
    is rattled.
    """

    method: str = Field(
        default="recipe",
        description="how atoms move: recipe (normal), mc (Monte Carlo that keeps distances; needs "
        "hiphive) or phonon (modes of the relaxing model at a temperature)",
    )
    n_cells: int = Field(default=5, ge=1, description="rattled cells; volumes are taken in turn")
    volumes: tuple[Percent, ...] = Field(
        default=(-5.0, -2.5, 0.0, 2.5, 5.0), min_length=1, description="change of the volume"
    )
    amplitude: Angstrom = Field(
        default=0.1, ge=0, description="most frequent length of a displacement (recipe, mc)"
    )
    temperature: Kelvin = Field(default=300.0, ge=0, description="of the modes (phonon)")
    mode_floor: TeraHertz = Field(
        default=1.0,
        gt=0,
        description="softer modes move as if they had this frequency, unstable ones as if theirs "
        "was real and not below it (phonon)",
    )
    strain: Percent = Field(
        default=2.0, ge=0, le=10, description="largest relative change of a cell length or angle"
    )
    small: tuple[Angstrom, ...] = Field(
        default=(0.025, 0.025),
        description="displacement of every atom in each small rattle of the undeformed supercell; "
        "these are labelled as they are",
    )
    mirrored: bool | None = Field(
        default=None,
        description="every second small rattle is the one before it with opposite displacements, so "
        "that cubic anharmonicity cancels in the force constants; None: where symmetry leaves few "
        "enough force constants, and the lengths go in pairs",
    )
    min_distance: Dimensionless = Field(
        default=0.6,
        ge=0,
        le=1,
        description="of the sum of two covalent radii; closer is drawn again",
    )
    supercell: SupercellSize = Field(
        default="large", description="primitive; small, from 5 Å; large, from 10 Å"
    )
    shape: Literal["cubic", "compact"] = Field(
        default="cubic",
        description="cubic: as cubic as possible, of any integer matrix; compact: the fewest atoms "
        "that keep the images apart and the point group, as phonons are computed in",
    )
    min_length: Angstrom | None = Field(
        default=None, gt=0, description="shortest supercell vector; None goes by supercell"
    )
    max_atoms: int = Field(default=300, ge=1, description="most atoms in the supercell")

    @field_validator("method")
    @classmethod
    def _known(cls, method: str) -> str:
        if method not in DISPLACERS:
            raise unknown_name("rattle method", method, DISPLACERS)
        return method

    @property
    def shortest_vector(self) -> float | None:
        """Shortest supercell vector, Å; None for the primitive cell."""
        return self.min_length or SHORTEST_VECTORS.get(self.supercell)

    @property
    def goes_in_pairs(self) -> bool:
        """Whether every second small rattle is as long as the one before it."""
        return len(self.small) > 1 and self.small[:-1:2] == self.small[1::2]

    @model_validator(mode="after")
    def _pairs(self) -> Self:
        if self.mirrored and not self.goes_in_pairs:
            raise ConfigError(
                f"mirrored small rattles need lengths in pairs, found small = {list(self.small)}. "
                "Give each length twice, e.g. [0.025, 0.025], or leave mirrored out."
            )
        return self


class SelectSettings(Part):
    """Which frames of a set of relaxations are labelled.

    The budget counts every label: the validation frames and what is labelled as it is (the small
    rattles) come first, the method chooses the rest. With the defaults of the sampling that is
    4 + 2 + 14 = 20.
    """

    method: str = Field(
        default="energy",
        description="energy (equally spaced along each relaxation), fps (farthest point in the "
        "model's descriptors), doptimal (greedy log-det of force features) or random",
    )
    budget: int = Field(default=20, ge=1, description="labels in all")
    n_valid: int = Field(
        default=4,
        ge=0,
        description="labels of valid_group, equally spaced in energy whatever the method",
    )
    valid_group: str = Field(
        default="volume +0.0 %", description="the trajectory that validates; it never trains"
    )
    span: Dimensionless = Field(
        default=0.9, gt=0, le=1, description="share of the way down in energy that frames cover"
    )
    ridge: Dimensionless = Field(
        default=1e-3,
        gt=0,
        description="regularisation of the information matrix, in units of the mean diagonal that "
        "one frame of the pool adds (doptimal)",
    )

    @field_validator("method")
    @classmethod
    def _known(cls, method: str) -> str:
        if method not in METHODS:
            raise unknown_name("selection method", method, METHODS)
        return method

    @property
    def needs(self) -> Needs:
        """What a model must compute of the frames: descriptors, force features or nothing."""
        return METHODS[self.method][1]
