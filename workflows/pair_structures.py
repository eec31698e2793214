"""The crystals of the toy pair: known compounds in the cells of pymatgen's AFLOW prototypes.

:data:`FAMILIES` names a prototype of the AFLOW library by its label and its own formula, the elements of that
cell that are replaced, and the compounds that take their place, element by element in that order (written
without numbers: ``Ca Ti O`` is replaced by ``BaTiO``). Every prototype of the library with at most
:data:`MAX_NATIVE_ATOMS` atoms whose elements all belong to :data:`ELEMENTS` also comes as itself. Volumes
start at the prediction by bond lengths (DLS; Chu et al., Comput. Mater. Sci. 146, 184 (2018)); the surface
then relaxes them, see `pair_labels.py`. Nothing here knows a potential.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from pair_frames import FIRST, HELD_OUT, formula_of
from pymatgen.analysis.prototypes import AFLOW_PROTOTYPE_LIBRARY
from pymatgen.analysis.structure_prediction.volume_predictor import DLSVolumePredictor
from pymatgen.core import Composition, Structure
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

ELEMENTS = frozenset(re.findall("[A-Z][a-z]?", """
    Li Be B C N O F Na Mg Al Si P S Cl K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br
    Rb Sr Y Zr Nb Mo Ru Rh Pd Ag Cd In Sn Sb Te I Cs Ba La Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi"""))  # fmt: skip
MAX_NATIVE_ATOMS = 12

FAMILIES: dict[str, tuple[str, str, str, str]] = {
    "rocksalt": ("AB_cF8_225_a_b", "NaCl", "Na Cl", """LiF LiCl LiBr LiI NaF NaCl NaBr NaI KF KCl KBr KI
        RbF RbCl RbBr RbI CsF MgO CaO SrO BaO MgS CaS SrS BaS MgSe CaSe SrSe BaSe CaTe SrTe BaTe MnO NiO
        CoO CdO ScN YN LaN TiN ZrN HfN VN NbN TiC ZrC HfC NbC TaC VC SnTe SnSe GeTe PbS PbSe PbTe AgCl
        AgBr LaS YAs LaSb LaBi"""),
    "caesium-chloride": ("AB_cP2_221_b_a", "CsCl", "Cs Cl", """CsCl CsBr CsI TlCl TlBr TlI NiAl CoAl FeAl
        ZnCu AgMg TiFe TiRu HfRu ZrRu TiCo YAg YCu BeCu PdIn LiAg LiHg"""),
    "zincblende": ("AB_cF8_216_c_a", "ZnS", "Zn S", """ZnO ZnS ZnSe ZnTe CdS CdSe CdTe HgSe HgTe BN BP BAs
        AlN AlP AlAs AlSb GaN GaP GaAs GaSb InN InP InAs InSb SiC BeS BeSe BeTe MgTe CuCl CuBr CuI AgI"""),
    "wurtzite": ("AB_hP4_186_b_b", "ZnS", "Zn S", "ZnO ZnS CdS CdSe AlN GaN InN BeO SiC MgTe AgI"),
    "diamond": ("A_cF8_227_a", "C", "C", "C Si Ge Sn"),
    "fluorite": ("AB2_cF12_225_a_c", "CaF2", "Ca F", """CaF SrF BaF CdF PbF ZrO HfO SrCl BaCl CoSi NiSi
        PtAl AuAl PtGa PtSn"""),
    "antifluorite": ("AB2_cF12_225_a_c", "CaF2", "Ca F", """OLi ONa OK ORb SLi SNa SK SRb SeLi SeNa SeK TeLi
        TeNa TeK SiMg GeMg SnMg PbMg CBe PRh PIr"""),
    "perovskite": ("AB3C_cP5_221_a_c_b", "CaTiO3", "Ca Ti O", """BaTiO SrTiO CaTiO PbTiO KNbO NaNbO KTaO
        NaTaO BaZrO SrZrO CaZrO BaHfO SrHfO BaSnO SrSnO CaSnO LaAlO YAlO LaGaO LaCrO LaMnO LaFeO LaCoO
        LaNiO SrVO SrRuO KMgF KZnF KMnF KNiF KCoF KCaF RbCaF RbMnF RbMgF NaMgF CsCaF CsCdF CsHgF CsPbCl
        CsPbBr CsPbI CsSnCl CsSnBr CsSnI CsGeCl BaLiF"""),
    "antiperovskite": ("AB3C_cP5_221_a_c_b", "CaTiO3", "Ca Ti O", """AlCTi SnCMn ZnCNi SbNCa BiNCa ClOLi
        BrOLi SnOCa AuNCa GaNMn"""),
    "perovskite-Pnma": ("AB3C_oP20_62_c_cd_a", "CaTiO3", "Ca Ti O", "CaTiO NaMgF SrZrO LaFeO CaSnO LaGaO"),
    "perovskite-P4mm": ("A3BC_tP5_99_bc_a_b", "ZrPbO3", "Pb Zr O", "PbTiO BaTiO KNbO"),
    "perovskite-R3c": ("ABC3_hR10_161_a_a_b", "LiNbO3", "Li Nb O", "LiNbO LiTaO BiFeO"),
    "perovskite-R-3c": ("ABC3_hR10_167_a_b_e", "LiNbO3", "Li Nb O", "LaAlO LaNiO LaCoO"),
    "rutile": ("A2B_tP6_136_f_a", "TiO2", "Ti O", """TiO SnO GeO SiO PbO MnO RuO IrO OsO VO NbO CrO MgF ZnF
        NiF CoF FeF MnF PdF"""),
    "cadmium-iodide": ("AB2_hP3_164_a_d", "CdI2", "Cd I", "CdI MgBr TiS TiSe ZrS ZrSe HfS SnS PtS PtSe"),
    "molybdenite": ("AB2_hP6_194_c_f", "MoS2", "Mo S", "MoS WS MoSe WSe TaS"),
    "spinel": ("A2BC4_cF56_227_d_a_e", "MgAl2O4", "Mg Al O", "MgAlO ZnAlO ZnGaO CdInS CdCrSe CoAlO"),
    "half-Heusler": ("ABC_cF12_216_b_c_a", "MgAgAs", "As Mg Ag", """NiZrSn NiTiSn NiHfSn CoTiSb CoZrSb CoNbSn
        FeVSb FeNbSb PtTiSn PLiZn AsLiZn PLiMg AsLiMg NLiZn SiLiAl"""),
    "Heusler": ("AB2C_cF16_225_a_c_b", "MnAlCu2", "Cu Mn Al", """CuMnAl CoMnSi CoTiAl NiTiAl FeVAl CoMnGe
        NiMnIn CoFeSi RuVAl PdMnSn NiTiSn"""),
    "D0_3": ("AB3_cF16_225_a_bc", "BiF3", "Bi F", "SbK SbNa SbLi SbRb SbCs AsK AsNa PNa BiK BiLi AlFe SiFe"),
    "sodium-arsenide": ("AB3_hP8_194_c_bf", "Na3As", "Na As", "NaAs KSb KBi NaP RbSb"),
    "Cu3Au": ("AB3_cP4_221_a_c", "Cu3Au", "Au Cu", """AuCu AlNi GaNi SnCa PbCa SnLa InY AlSc PtMn FePt TiIr
        TiRh"""),
    "CuAu": ("AB_tP2_123_a_d", "CuAu", "Cu Au", "CuAu TiAl FePt CoPt FePd"),
    "fcc": ("A_cF4_225_a", "Cu", "Cu", "Al Ca Sr Cu Ag Au Ni Pd Pt Rh Ir Pb"),
    "bcc": ("A_cI2_229_a", "W", "W", "Li Na K Rb Cs Ba V Nb Ta Cr Mo W Fe"),
    "hcp": ("A_hP2_194_c", "Mg", "Mg", "Be Mg Ti Zr Hf Sc Y Co Ru Re Os Zn Cd Tl"),
    "arsenic": ("A_hR2_166_c", "As", "As", "As Sb Bi"),
    "selenium": ("A_hP3_152_a", "Se", "Se", "Se Te"),
    "AlB2": ("AB2_hP3_191_a_d", "AlB2", "Al B", "AlB MgB TiB ZrB HfB NbB TaB CrB"),
    "Laves": ("A2B_cF24_227_d_a", "MgCu2", "Mg Cu", "MgCu YAl LaAl CaAl ZrV BiAu LaNi BaRh LaIr"),
    "A15": ("A3B_cP8_223_c_a", "Cr3Si", "Cr Si", "CrSi VSi NbSn NbAl VGa"),
    "corundum": ("A2B3_hR10_167_c_e", "Al2O3", "Al O", "AlO CrO FeO TiO GaO"),
    "tetradymite": ("A2B3_hR5_166_c_ac", "Bi2Te3", "Bi Te", "BiTe BiSe SbTe"),
    "ordered-rocksalt": ("ABC2_hR4_166_a_b_c", "NaCrS2", "Na Cr S", "NaCrS LiCoO NaScO NaYS AgCrSe LiNiO"),
    "chalcopyrite": ("ABC2_tI16_122_a_b_d", "FeCuS2", "Cu Fe S", """CuFeS CuGaSe CuInSe CuInS CuAlS AgGaS
        AgGaTe ZnSiP ZnGeP CdSnP"""),
    "pyrite": ("AB2_cP12_205_a_c", "FeS2", "Fe S", "FeS RuS NiS PtP PtAs"),
    "GeS": ("AB_oP8_62_c_c", "GeS", "Ge S", "GeS GeSe SnS SnSe"),
    "nickeline": ("AB_hP4_194_c_a", "NiAs", "Ni As", "NiAs MnTe MnAs CoSb NiSb CrTe CrSe CoTe AuSn PtSn PtBi"),
    "tungsten-carbide": ("AB_hP2_187_d_a", "WC", "W C", "WC MoP NbN TaN"),
    "FeSi": ("AB_cP8_198_a_a", "FeSi", "Fe Si", "FeSi CoSi MnSi RhSi CrGe"),
    "NbP": ("AB_tI8_141_a_b", "NbP", "Nb P", "NbP TaP TaAs NbAs"),
    "CaCu5": ("AB5_hP6_191_a_cg", "CaCu5", "Ca Cu", "CaCu LaNi YCo"),
    "matlockite": ("ABC_tP6_129_c_a_c", "PbClF", "Pb F Cl", "PbFCl BaFCl BaFBr SrFCl BiOCl LaOCl"),
    "cuprite": ("A2B_cP6_224_b_a", "Cu2O", "Cu O", "CuO AgO"),
    "ReO3": ("A3B_cP4_221_d_a", "ReO3", "Re O", "ReO ScF AlF WO"),
    "layered-perovskite": ("AB2C4_tI14_139_a_e_ce", "La2CuO4", "La Cu O", "LaCuO SrTiO SrRuO KNiF KMgF BaSnO"),
    "MoSi2": ("AB2_tI6_139_a_e", "Si2Mo", "Mo Si", "MoSi WSi ReSi"),
}  # fmt: skip

_LEFT_OUT = re.compile("theoretical|high pressure|oxygen|nitrogen|cubane|cyanogen|monoxide", re.I)
"""Minerals of the library that are molecules or were never made; also what :data:`_MOLECULES` names."""
_MOLECULES = frozenset({"N2", "O2", "Cl2", "I2", "KClO3", "SiF4", "CrFe4Ni3"})


def _substituted(cell: Structure, replaced: list[str], by: list[str]) -> Structure:
    """The cell with other elements, at the volume that bond lengths predict."""
    new = cell.copy()
    new.replace_species(dict(zip(replaced, by, strict=True)))
    return DLSVolumePredictor(min_scaling=0.3, max_scaling=3.0).get_predicted_structure(new)


def _library() -> dict[tuple[str, str], tuple[str, Structure]]:
    """Mineral name and cell of every prototype, by AFLOW label and reduced formula."""
    return {
        (entry["tags"]["aflow"], s.composition.reduced_formula): (entry["tags"]["mineral"], s)
        for entry in AFLOW_PROTOTYPE_LIBRARY
        for s in [entry["snl"].structure]
    }


def crystals() -> Iterator[tuple[str, Structure]]:
    """Every crystal as its name (family and formula) and a start for its relaxation."""
    library, taken = _library(), set()
    for family, (label, formula, slots, compounds) in FAMILIES.items():
        _, cell = library[label, Composition(formula).reduced_formula]
        for compound in compounds.split():
            symbols = re.findall("[A-Z][a-z]?", compound)
            structure = _substituted(cell, slots.split(), symbols)
            taken.add((label, structure.composition.reduced_formula))
            yield f"{family}-{structure.composition.reduced_formula}", structure
    for (label, formula), (mineral, cell) in library.items():
        elements = {element.symbol for element in cell.elements}
        if (
            len(cell) <= MAX_NATIVE_ATOMS
            and elements <= ELEMENTS
            and (label, formula) not in taken
            and formula not in HELD_OUT | _MOLECULES
            and not _LEFT_OUT.search(mineral)
        ):
            yield f"{label}-{formula}", cell.copy()


def structures() -> list[dict[str, Any]]:
    """All crystals: those of `FIRST`, those kept out of training, then a mix.

    The rest is ordered by a hash of the name, so that labels stopped at any time cover all families.
    Each is a dictionary: name, symbols, fractional positions, cell (Å), and the operations of its
    space group on fractional coordinates (rotations, translations).
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = dict(crystals())
    known = [*FIRST, *(name for name in found if formula_of(name) in HELD_OUT)]
    rest = sorted(set(found) - set(known), key=lambda name: sha256(name.encode()).hexdigest())
    return [_entry(name, found[name]) for name in [*known, *rest]]


def _entry(name: str, structure: Structure) -> dict[str, Any]:
    operations = SpacegroupAnalyzer(structure, symprec=0.01).get_symmetry_operations()
    return {
        "name": name,
        "symbols": [site.specie.symbol for site in structure],
        "positions": structure.frac_coords.tolist(),
        "cell": structure.lattice.matrix.tolist(),
        "rotations": [np.rint(o.rotation_matrix).astype(int).tolist() for o in operations],
        "translations": [o.translation_vector.tolist() for o in operations],
    }


def write_structures(work: Path) -> None:
    """Write ``structures.json``."""
    made = structures()
    work.mkdir(parents=True, exist_ok=True)
    (work / "structures.json").write_text(json.dumps(made), encoding="utf-8")
    elements = {symbol for entry in made for symbol in entry["symbols"]}
    print(f"{len(made)} crystals of {len(elements)} elements in {work / 'structures.json'}")
