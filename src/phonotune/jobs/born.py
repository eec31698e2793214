"""BornMaker: Born effective charges and the dielectric tensor by a labeller."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar

from jobflow import Job, Maker, OnMissing, Response
from pydantic import Field
from pymatgen.core import Structure

from phonotune.errors import ConfigError, LabelError
from phonotune.jobs.base import document_job, replace_by, role_job, tag
from phonotune.jobs.label import LabelMaker
from phonotune.jobs.label_reader import check_vasp_run, read_band_gap, read_response
from phonotune.jobs.vasp.protocol import LINEAR_RESPONSE
from phonotune.physics.phonon.born import symmetric_charges
from phonotune.physics.phonon.cells import Rows3, primitive_cell
from phonotune.schemas.base import Part, Source, structure_hash
from phonotune.schemas.born import BornDocument
from phonotune.schemas.masses import with_natural_masses
from phonotune.units import Angstrom, ElectronVolt

T = TypeVar("T")


class BornSettings(Part):
    """Which cell is computed, and which crystals have Born charges."""

    primitive_matrix: Rows3 | None = Field(
        default=None,
        description="rows are primitive vectors in units of the cell vectors; None finds them",
    )
    symprec: Angstrom = Field(default=1e-5, gt=0, description="symmetry tolerance")
    min_gap: ElectronVolt = Field(
        default=0.05, ge=0, description="a smaller band gap is that of a metal: no charges"
    )


@dataclass
class BornMaker(Maker):
    """Born charges and ε∞ of the primitive cell, once per crystal, for the reference and every model.

    A single point tells metals by their band gap; only insulators get the linear response (Gonze and Lee,
    PRB 55, 10355 (1997)). Both runs follow the label protocol and are compared with it.

    Parameters
    ----------
    settings
        The primitive cell and the smallest band gap.
    labeller
        Who computes; it needs a maker of Born charges.
    """

    document: ClassVar[type[BornDocument]] = BornDocument

    name: str = "born"
    settings: BornSettings = field(default_factory=BornSettings)
    labeller: LabelMaker | None = field(default=None, kw_only=True)

    @role_job("light", BornDocument)
    def make(self, structure: Structure) -> Response[Any]:
        """Compute the Born charges of a crystal.

        Parameters
        ----------
        structure
            The unit cell, at rest, in its own orientation.
        """
        self.response()
        assert self.labeller is not None
        primitive = self.primitive(structure)
        (static,) = self.labeller.static_jobs([primitive])
        last = respond_where_insulating(self, structure, static.output)
        last.update_config({"on_missing_references": OnMissing.NONE})
        return replace_by([static], tag(last, "light", self.name))

    def primitive(self, structure: Structure) -> Structure:
        """Return the cell that is computed, with natural masses."""
        settings = self.settings
        return primitive_cell(
            with_natural_masses(structure), settings.symprec, settings.primitive_matrix
        )

    def response(self) -> Maker:
        """Return the maker of the linear response.

        Raises
        ------
        ConfigError
            There is no labeller, or it gives no Born charges.
        """
        if self.labeller is None:
            raise ConfigError(
                "BornMaker needs a labeller. Set labeller=LabelMaker(labeller='vasp')."
            )
        found = self.labeller.resolve().born
        if found is None:
            raise ConfigError(
                f"Labeller {self.labeller.labeller!r} gives no Born charges: `vasp` does, with a GGA. "
                "Give them in phonopy's BORN file (`--born FILE`), or go on without (`--born off`)."
            )
        return found

    def describe(self, structure: Structure, band_gap: float, **found: Any) -> BornDocument:
        """Return the Document of a crystal; ``found`` are its fields where there is a band gap."""
        assert self.labeller is not None
        return BornDocument(
            formula=structure.reduced_formula,
            material_id=structure_hash(structure),
            source=Source(role="reference", evaluator=self.labeller.labeller),
            settings=self.settings.model_dump(mode="json"),
            primitive=self.primitive(structure),
            protocol=self.labeller.protocol(),
            band_gap=band_gap,
            **found,
        )


@document_job(BornDocument)
def respond_where_insulating(
    maker: BornMaker, structure: Structure, static: Any | None
) -> BornDocument | Response[Any]:
    """Start the linear response of a crystal with a band gap; say of any other that it has no charges.

    Raises
    ------
    LabelError
        The single point failed, did not converge or followed another protocol.
    """
    assert maker.labeller is not None
    primitive = maker.primitive(structure)
    gap = _checked(maker, primitive, static, "single point", read_band_gap)
    if gap < maker.settings.min_gap:
        return maker.describe(structure, gap)
    response = tag(maker.response().make(primitive), "dft", maker.name)
    last: Job = collect_charges(maker, structure, gap, response.output)
    last.update_config({"on_missing_references": OnMissing.NONE})
    return replace_by([response], tag(last, "light", maker.name))


@document_job(BornDocument)
def collect_charges(
    maker: BornMaker, structure: Structure, band_gap: float, response: Any | None
) -> BornDocument:
    """Read the linear response into the Document, symmetric and neutral.

    Raises
    ------
    LabelError
        It failed, did not converge, followed another protocol or gave charges of another crystal.
    """
    primitive = maker.primitive(structure)
    charges, dielectric = _checked(
        maker,
        primitive,
        response,
        "linear response",
        lambda document: read_response(document, primitive),
        **LINEAR_RESPONSE,
    )
    found = symmetric_charges(primitive, charges, dielectric, maker.settings.symprec)
    return maker.describe(
        structure,
        band_gap,
        born=found.born,
        sum_rule=found.sum_rule,
        asymmetry=found.asymmetry,
    )


def _checked(
    maker: BornMaker,
    primitive: Structure,
    document: Any | None,
    what: str,
    read: Callable[[Any], T],
    **changes: Any,
) -> T:
    """Return what ``read`` finds in the document of a run that followed the protocol with ``changes``."""
    assert maker.labeller is not None
    try:
        check_vasp_run(document, primitive, maker.labeller.resolve().protocol, {}, **changes)
        return read(document)
    except LabelError as error:
        raise LabelError(
            f"The {what} behind the Born charges of {primitive.reduced_formula} cannot be used: {error}. "
            "Mend it and run again, give the charges in phonopy's BORN file (`--born FILE`), or go on without "
            "(`--born off`)."
        ) from error
