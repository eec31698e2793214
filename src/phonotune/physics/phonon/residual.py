"""Residual force constants: what labelled frames say about the harmonic error of a model.

Φ = Φ_model + ΔΦ. The forces of the model and of the reference differ by those of ΔΦ and by an anharmonic
part. The model already describes most of the anharmonic part, which spoils a plain fit of the same frames,
so that few and small numbers remain to be fitted.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np
from pymatgen.core import Structure

from phonotune.errors import InputError
from phonotune.physics.answer_checks import require_answers
from phonotune.physics.phonon.cells import to_structure, with_isotopes
from phonotune.physics.phonon.displacements import PhononPlan, analyse_forces, fit_force_constants
from phonotune.physics.phonon.document import analyse_force_constants, born_of, phonopy_of
from phonotune.physics.phonon.residual_fit import fit_residual, frequency_deviations
from phonotune.physics.phonon.settings import PhononSettings
from phonotune.physics.phonon.spectrum import without_acoustic
from phonotune.physics.residual.matching import (
    MatchedFrames,
    ResidualSettings,
    match_frames,
    require_matches,
)
from phonotune.ports import Answers
from phonotune.schemas.base import Source
from phonotune.schemas.blob import Blob
from phonotune.schemas.dataset import Frame
from phonotune.schemas.phonon import BornCharges, FrequencyRange, PhononDocument, ResidualSummary

Variant = Literal["model", "symfc"]

CORRECTED: Final = " + ΔΦ"
"""Ending of a source's role where residual force constants correct a model."""
SYMFC: Final = "symfc"
"""Role of the plain fit to the labelled frames."""


@dataclass(frozen=True, eq=False)
class ResidualPlan:
    """Displaced supercells, and the labelled frames that the model has to evaluate as well.

    Attributes
    ----------
    phonons
        The finite displacements.
    frames
        Labelled frames of the undeformed supercell.
    settings
        How ΔΦ is fitted.
    structures
        What to evaluate: the displacements, then the frames.
    """

    phonons: PhononPlan
    frames: MatchedFrames
    settings: ResidualSettings
    structures: tuple[Structure, ...] = field(init=False)

    def __post_init__(self) -> None:
        structures = (*self.phonons.structures, *self.frames.structures)
        object.__setattr__(self, "structures", structures)


def plan_residual(
    plan: PhononPlan,
    frames: list[Frame],
    settings: ResidualSettings | None = None,
    required: bool = False,
) -> PhononPlan | ResidualPlan:
    """Add the labelled frames of a plan's supercell to the structures that a model evaluates.

    Parameters
    ----------
    plan
        The finite displacements.
    frames
        Labelled frames; those of other cells are left out.
    settings
        How ΔΦ is fitted.
    required
        Raise if no frame matches; otherwise the plan itself is returned.

    Raises
    ------
    FramesError
        ``required``, and no frame belongs to the undeformed supercell.
    """
    own = settings or ResidualSettings()
    supercell = to_structure(plan.phonon.supercell)
    matched = match_frames(supercell, frames, own)
    if required:
        require_matches(matched, supercell)
    return ResidualPlan(plan, matched, own) if len(matched) else plan


def analyse_residual(
    plan: PhononPlan | ResidualPlan,
    answers: Answers,
    source: Source,
    born: BornCharges | None = None,
) -> PhononDocument:
    """Turn the answers of a model into phonons with residual force constants.

    The document holds the forces that the corrected force constants exert on the displaced supercells, so
    that phonopy computes the same phonons from them.

    Parameters
    ----------
    plan
        What was planned.
    answers
        One answer per structure; all are needed.
    source
        Who gave the answers.
    born
        Born charges for the NAC, or None.

    Raises
    ------
    LabelError
        A missing or broken answer; the message names the frames.
    """
    if isinstance(plan, PhononPlan):
        return analyse_forces(plan, answers, source, born)
    complete = require_answers(plan.structures, answers, "Phonons")
    answered = np.array([a.forces for a in complete])
    forces, at_frames = np.split(answered, [len(plan.phonons.structures)])
    phonon = fit_force_constants(plan.phonons, forces)
    model = np.array(phonon.force_constants)
    fit = fit_residual(phonon, plan.frames, at_frames, plan.settings)
    phonon = with_isotopes(phonon, plan.phonons.structure)
    phonon.force_constants = model + fit.force_constants(phonon, fit.ridge.coefficients)
    displaced = {
        "displacement_sites": plan.phonons.sites,
        "displacement_vectors": plan.phonons.vectors,
        "displacement_forces": forces + fit.forces(plan.phonons.sites, plan.phonons.vectors),
    }
    document = analyse_force_constants(
        phonon, plan.phonons.structure, plan.phonons.settings, source, born, displaced
    )
    arrays = dict(document.data.arrays())

    q = np.concatenate([arrays["mesh_q"], arrays["commensurate_q"]])
    ranges = {}
    for name, constants in (("model", model), ("symfc", fit.plain)):
        arrays[f"force_constants_{name}"] = phonon.force_constants = constants
        nu = np.array(phonon.run_qpoints(q).frequencies)
        ranges[name] = FrequencyRange(
            lowest_frequency=float(without_acoustic(q, nu).min()), highest_frequency=float(nu.max())
        )

    deviation = frequency_deviations(
        phonon, model, fit, arrays["mesh_q"], arrays["mesh_frequencies"], plan.settings
    )
    summary = ResidualSummary(
        settings=plan.settings.model_dump(mode="json"),
        n_frames=len(plan.frames),
        n_pairs=fit.n_pairs,
        n_others=plan.frames.n_others,
        n_data=plan.frames.forces.size,
        n_parameters=fit.basis.n_parameters,
        effective_parameters=fit.ridge.effective_parameters,
        ridge=fit.ridge.strength,
        error_before=fit.ridge.error_before,
        error_after=fit.ridge.error_after,
        frequency_uncertainty=float(np.average(deviation, weights=arrays["mesh_weights"])),
        kept=fit.ridge.kept,
        noise=fit.ridge.noise,
        advice=fit.advice,
        model=ranges["model"],
        symfc=ranges["symfc"],
    )
    return document.model_copy(update={"data": Blob.pack(**arrays), "residual": summary})


def residual_variant(document: PhononDocument, variant: Variant) -> PhononDocument:
    """Return the phonons of the model alone, or of the plain symfc fit, as a separate document.

    Parameters
    ----------
    document
        Phonons with residual force constants.
    variant
        ``"model"`` or ``"symfc"``.

    Raises
    ------
    InputError
        The document holds no residual force constants.
    """
    if document.residual is None:
        raise InputError(
            f"The phonons of {document.formula} by {document.source.evaluator} hold no residual "
            "force constants; compute them with labelled frames of their supercell."
        )
    arrays = document.data.arrays()
    phonon = phonopy_of(document)
    phonon.force_constants = arrays[f"force_constants_{variant}"]
    born = born_of(document)
    settings = PhononSettings.model_validate(document.settings)
    return analyse_force_constants(phonon, document.unitcell, settings, document.source, born)


def corrected(document: PhononDocument) -> PhononDocument:
    """Return phonons with residual force constants; the role of their source says so."""
    source = document.source.model_copy(update={"role": document.source.role + CORRECTED})
    return document.model_copy(update={"source": source})


def plain_fit(document: PhononDocument) -> PhononDocument:
    """Return the plain symfc fit of the labelled frames as a document with its own source.

    Raises
    ------
    InputError
        The document holds no residual force constants.
    """
    source = Source(role=SYMFC, evaluator="labelled frames")
    return residual_variant(document, "symfc").model_copy(update={"source": source})
