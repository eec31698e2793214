"""What each kind of Document is, one row per kind: every table, file name, help text and column reads it.

A row names classes and functions of the rooms above by dotted path, ``module:name``; they are imported
when they are used, so that reading the rows costs nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Literal

from phonotune.dotted import load
from phonotune.errors import unknown_name
from phonotune.schemas.columns import Column

if TYPE_CHECKING:
    from phonotune.schemas.base import Document

_COMPARED: Final = "phonotune.schemas.comparison:ComparisonRow"
_QUOTED: Final = re.compile(r"\{([\w.]+)(:bare)?\}")


@dataclass(frozen=True)
class Comparison:
    """How Documents of one kind by two evaluators are compared.

    Attributes
    ----------
    equal
        Fields that must agree, as crystal and settings must.
    deviations
        Dotted path of a function of reference and model that returns fields of
        :class:`phonotune.schemas.comparison.Deviations`; empty: the deviation of each headline column
        in percent, in ``others``.
    columns
        The deviations as columns; paths start from a row of a comparison.
    """

    equal: tuple[str, ...] = ()
    deviations: str = ""
    columns: tuple[Column, ...] = ()


@dataclass(frozen=True)
class Kind:
    """One kind of Document.

    Attributes
    ----------
    name
        The Document's ``kind``, by which a store is queried.
    document
        Dotted path of its class.
    title
        Words for people: what was computed.
    headline
        What `results` shows of one, in words with ``{path}`` for a field with its unit and
        ``{path:bare}`` for its number alone.
    columns
        Headline numbers, in the order in which they are shown.
    csv
        File of a campaign's table; empty: none.
    file
        File that the commands write into a folder; empty: they write none.
    command
        Dotted path of the command that writes it.
    maker
        Dotted path of the Maker that computes it; only kinds with a Maker are properties.
    package, extra
        Package that only it needs, and the extra of phonotune that installs it.
    needs
        Arguments of the Maker's ``make`` that are outputs of other kinds, by name: the reference's
        output where the reference has that property.
    reference
        What a labeller gives: the ``property`` itself, which then models may not give (``only``), ``labels``
        of what a model found, or nothing.
    comparison
        How two of them are compared; None: they are not.
    table
        Dotted path of the function that makes its table, of one Document or of several beside each
        other; empty: the columns.
    sections
        Dotted path of the function that makes its sections of the report; empty: a table of the columns.
    """

    name: str
    document: str
    title: str
    headline: str
    columns: tuple[Column, ...] = ()
    csv: str = ""
    file: str = ""
    command: str = ""
    maker: str = ""
    package: str = ""
    extra: str = ""
    needs: Mapping[str, str] = field(default_factory=dict)
    reference: Literal["property", "only", "labels", ""] = ""
    comparison: Comparison | None = None
    table: str = ""
    sections: str = ""

    def __post_init__(self) -> None:
        """Tell every column where its path starts."""
        columns = tuple(replace(column, owner=self.document) for column in self.columns)
        object.__setattr__(self, "columns", columns)
        if self.comparison is not None:
            compared = self.comparison.columns
            if not self.comparison.deviations:
                compared = tuple(
                    Column(f"deviations.others.{self.name}.{c.path}", c.label, 1) for c in columns
                )
            owned = tuple(replace(column, owner=_COMPARED) for column in compared)
            object.__setattr__(self, "comparison", replace(self.comparison, columns=owned))

    @property
    def document_class(self) -> type[Document]:
        """Class of its Documents."""
        found: type[Document] = load(self.document)
        return found

    @property
    def is_property(self) -> bool:
        """Whether it is a property of a crystal that a Maker computes."""
        return bool(self.maker)

    @property
    def command_name(self) -> str:
        """Name of the command that writes it: ``double-well``."""
        return self.command.partition(":")[2].replace("_", "-")

    def words(self, document: Document) -> str:
        """Return the number or two that a Document is looked up for, in words."""
        known = {column.path: column for column in self.columns}

        def quote(match: re.Match[str]) -> str:
            column = known.get(match[1]) or Column(match[1], "", owner=self.document)
            value = column.value(document)
            return column.number(value) if match[2] else column.text(document)

        return _QUOTED.sub(quote, self.headline)


_ROWS: Final = (
    Kind(
        name="structures",
        document="phonotune.schemas.dataset:StructureSet",
        title="Structures",
        headline="{in_words}",
    ),
    Kind(
        name="trajectories",
        document="phonotune.schemas.dataset:TrajectoryDocument",
        title="Trajectories",
        headline="{in_words}",
    ),
    Kind(
        name="labels",
        document="phonotune.schemas.dataset:LabelledSet",
        title="Labels",
        headline="{requested} frames by {labeller}",
        csv="labels.csv",
    ),
    Kind(
        name="dataset",
        document="phonotune.schemas.dataset:DatasetDocument",
        title="Dataset",
        headline="{labeller}",
        csv="datasets.csv",
        reference="labels",
    ),
    Kind(
        name="training",
        document="phonotune.schemas.training:TrainingDocument",
        title="Training",
        headline="{plan.text}; {epochs} epochs",
        columns=(
            Column("metrics.valid_after.energy_mae", "energy MAE, validation", 2),
            Column("metrics.valid_after.forces_mae", "force MAE, validation", 2),
            Column("metrics.valid_after.stress_mae", "stress MAE, validation", 3),
        ),
        csv="training.csv",
        table="phonotune.report.tables:training_table",
    ),
    Kind(
        name="born",
        document="phonotune.schemas.born:BornDocument",
        title="Born charges",
        headline="{in_words}",
        columns=(
            Column("band_gap", "band gap", 2),
            Column("dielectric_constant", "ε∞, mean", 3),
            Column("largest_charge", "largest Born charge", 3),
            Column("sum_rule", "sum of the charges before it was made zero", 4),
        ),
        csv="born.csv",
        file="born.json",
        command="phonotune.cli.born:born",
        maker="phonotune.jobs.born:BornMaker",
        reference="only",
    ),
    Kind(
        name="phonon",
        document="phonotune.schemas.phonon:PhononDocument",
        title="Phonons",
        headline="{lowest_frequency:bare} to {highest_frequency}",
        columns=(
            Column("lowest_frequency", "lowest mode", 2, field="lowest_frequency", brief=True),
            Column(
                "highest_frequency",
                "highest mode",
                2,
                field="highest_frequency",
                deviation="highest_frequency_bias",
                brief=True,
            ),
            Column("thermal_300.heat_capacity", "C_v at 300 K", 2, field="heat_capacity_300"),
        ),
        csv="phonons.csv",
        file="phonons.json",
        command="phonotune.cli.phonons:phonons",
        maker="phonotune.jobs.phonon:PhononMaker",
        reference="property",
        comparison=Comparison(
            equal=("supercell_matrix", "primitive_matrix", "has_nac", "imaginary_threshold"),
            deviations="phonotune.physics.deviations:phonon_deviations",
            columns=(
                Column("deviations.frequency_mae", "frequency MAE", 3, brief=True),
                Column("deviations.acoustic_mae", "  lowest three branches", 3),
                Column("deviations.optical_mae", "  other branches", 3),
                Column("deviations.frequency_rmse", "frequency RMSE", 3),
                Column("deviations.frequency_max", "largest frequency error", 3, brief=True),
                Column("deviations.highest_frequency_bias", "highest mode", 2),
                Column("deviations.dos_error", "DOS error", 1, brief=True),
                Column("deviations.imaginary.precision", "imaginary modes: precision", 1),
                Column("deviations.imaginary.recall", "imaginary modes: recall", 1),
                Column("deviations.thermal.helmholtz_300", "F at 300 K", 3),
                Column("deviations.thermal.helmholtz_largest", "F, largest", 3),
                Column("deviations.thermal.entropy_300", "S at 300 K", 3),
                Column("deviations.thermal.entropy_largest", "S, largest", 3),
                Column("deviations.thermal.heat_capacity_300", "C_v at 300 K", 3),
                Column("deviations.thermal.heat_capacity_largest", "C_v, largest", 3),
            ),
        ),
        table="phonotune.report.tables:phonon_table",
        sections="phonotune.report.figures:phonon_sections",
    ),
    Kind(
        name="quasi_harmonic",
        document="phonotune.schemas.thermal:QuasiHarmonicDocument",
        title="Thermal expansion",
        headline="expansion {at_300.thermal_expansion}, bulk {at_300.bulk_modulus} at 300 K",
        columns=(
            Column("at_300.volume", "volume at 300 K", 3),
            Column(
                "at_300.thermal_expansion",
                "volume expansion at 300 K",
                1,
                exponent=-6,
                deviation="thermal_expansion_300",
                brief=True,
            ),
            Column("at_300.bulk_modulus", "bulk modulus at 300 K", 1),
            Column("at_300.heat_capacity_pressure", "C_p at 300 K", 2),
        ),
        csv="quasi_harmonic.csv",
        file="quasi_harmonic.json",
        command="phonotune.cli.thermal:thermal",
        maker="phonotune.jobs.quasi_harmonic:QuasiHarmonicMaker",
        reference="property",
        comparison=Comparison(
            equal=("supercell_matrix", "has_nac"),
            deviations="phonotune.physics.deviations:expansion_deviations",
            columns=(
                Column("deviations.volume_300", "volume at 300 K", 2),
                Column("deviations.thermal_expansion_300", "thermal expansion at 300 K", 1),
            ),
        ),
        table="phonotune.report.tables_thermal:expansion_table",
        sections="phonotune.report.sections_properties:expansion_sections",
    ),
    Kind(
        name="sscha",
        document="phonotune.schemas.sscha:SSCHADocument",
        title="Phonons at temperatures",
        headline="{in_words}",
        columns=(
            Column("lowest_frequency", "lowest mode at the highest temperature", 2, brief=True),
        ),
        csv="sscha.csv",
        file="sscha.json",
        command="phonotune.cli.sscha:sscha",
        maker="phonotune.jobs.sscha:SSCHAMaker",
        comparison=Comparison(equal=("supercell_matrix", "has_nac")),
        table="phonotune.report.tables_thermal:temperature_table",
    ),
    Kind(
        name="conductivity",
        document="phonotune.schemas.thermal:ConductivityDocument",
        title="Thermal conductivity",
        headline="{mean_conductivity_300} at 300 K",
        columns=(Column("mean_conductivity_300", "thermal conductivity at 300 K", 2, brief=True),),
        csv="conductivity.csv",
        file="conductivity.json",
        command="phonotune.cli.thermal:thermal",
        maker="phonotune.jobs.conductivity:ConductivityMaker",
        package="phono3py",
        extra="conductivity",
        reference="property",
        comparison=Comparison(equal=("supercell_matrix", "harmonic_matrix", "has_nac")),
        table="phonotune.report.tables_thermal:conductivity_table",
        sections="phonotune.report.sections_properties:conductivity_sections",
    ),
    Kind(
        name="well",
        document="phonotune.schemas.wells:WellDocument",
        title="Double well",
        headline="depth {depth}",
        columns=(
            Column("depth", "well depth", 2, field="well_depth", brief=True),
            Column("q0", "Q0", 3, field="well_q0"),
        ),
        csv="wells.csv",
        file="well.json",
        command="phonotune.cli.wells:double_well",
        maker="phonotune.jobs.wells:DoubleWellMaker",
        needs={"phonons": "phonon"},
        reference="property",
        comparison=Comparison(
            equal=("q", "supercell_matrix"),
            deviations="phonotune.physics.deviations:well_deviations",
            columns=(
                Column("deviations.well_depth", "double-well depth", 1),
                Column("deviations.well_q0", "double-well Q0", 1),
            ),
        ),
        table="phonotune.report.tables:well_table",
        sections="phonotune.report.figures:well_sections",
    ),
    Kind(
        name="transitions",
        document="phonotune.schemas.transition:TransitionDocument",
        title="Phase transitions",
        headline="{ground_state.space_group} {ground_state.energy}",
        columns=(Column("ground_state.energy", "lowest phase", 2, brief=True),),
        csv="transitions.csv",
        file="transitions.json",
        command="phonotune.cli.transitions:transitions",
        maker="phonotune.jobs.transitions:TransitionMaker",
        reference="labels",
        comparison=Comparison(
            deviations="phonotune.physics.deviations:phase_deviations",
            columns=(
                Column("deviations.phases.precision", "phases: precision", 0),
                Column("deviations.phases.recall", "phases: recall", 0),
                Column("deviations.phases.f1", "phases: F1", 0),
            ),
        ),
        table="phonotune.report.tables_transitions:phase_table",
        sections="phonotune.report.sections_properties:transition_sections",
    ),
    Kind(
        name="elastic",
        document="phonotune.schemas.elastic:ElasticDocument",
        title="Elastic constants",
        headline="bulk {bulk_modulus}, shear {shear_modulus}",
        columns=(
            Column("bulk_modulus", "bulk modulus", 1, field="bulk_modulus", brief=True),
            Column("shear_modulus", "shear modulus", 1, field="shear_modulus"),
        ),
        csv="elastic.csv",
        file="elastic.json",
        command="phonotune.cli.elastic:elastic",
        maker="phonotune.jobs.elastic:ElasticMaker",
        reference="property",
        comparison=Comparison(
            deviations="phonotune.physics.deviations:elastic_deviations",
            columns=(
                Column("deviations.bulk_modulus", "bulk modulus", 1),
                Column("deviations.shear_modulus", "shear modulus", 1),
                Column("deviations.elastic.constants", "", 1),
                Column("deviations.elastic.young_modulus", "Young's modulus", 1),
            ),
        ),
        table="phonotune.report.tables:elastic_table",
        sections="phonotune.report.figures:elastic_sections",
    ),
    Kind(
        name="comparison",
        document="phonotune.schemas.comparison:ComparisonDocument",
        title="Comparison",
        headline="reference {reference.evaluator}",
        csv="comparisons.csv",
        table="phonotune.report.tables_headline:comparison_table",
    ),
)

KINDS: Final[dict[str, Kind]] = {row.name: row for row in _ROWS}
"""The rows by name, properties in the order of the report; a plugin or a test adds its own."""


def find_kind(name: str) -> Kind:
    """Return the row of a kind.

    Raises
    ------
    ConfigError
        There is no such kind; the message names the nearest.
    """
    if name not in KINDS:
        raise unknown_name("kind", name, KINDS)
    return KINDS[name]


def kind_of(document: Document) -> Kind:
    """Return the row of a Document."""
    return find_kind(document.kind)


def property_kinds() -> dict[str, Kind]:
    """Return the rows of the properties of a crystal, by name."""
    return {name: row for name, row in KINDS.items() if row.is_property}


def compared_kinds() -> dict[str, Kind]:
    """Return the rows of the kinds that are compared, by name."""
    return {name: row for name, row in KINDS.items() if row.comparison is not None}
