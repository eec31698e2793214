"""Prototype crystals and the distorted supercells of them that the toy pair is trained on.

Nothing here knows a model: `CRYSTALS` names the crystals (prototype, elements in the prototype's
order, starting lattice parameter in Å), `unit_cell` builds one and `frame_plan` draws one strained,
rattled supercell from a random generator that depends on nothing but the crystal's name and the
frame's number, so that an interrupted run draws the same frames again.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from itertools import product

import numpy as np
from ase import Atoms
from ase.build import bulk, make_supercell
from ase.data import chemical_symbols
from ase.neighborlist import neighbor_list
from ase.spacegroup import crystal as spacegroup_crystal

# Lines "formula: a" (cubic) or "formula: a c [u]"; lengths in Å, starting points only.
TABLE: dict[str, str] = {
    "rocksalt": """Li F 4.03; Li Cl 5.13; Li Br 5.50; Li I 6.00; Na F 4.63; Na Cl 5.64; Na Br 5.97;
        Na I 6.47; K F 5.35; K Cl 6.29; K Br 6.60; K I 7.07; Rb F 5.65; Rb Cl 6.58; Rb Br 6.85;
        Rb I 7.34; Cs F 6.01; Mg O 4.21; Ca O 4.81; Sr O 5.16; Ba O 5.54; Mg S 5.20; Ca S 5.69;
        Sr S 6.02; Ba S 6.39; Mg Se 5.46; Ca Se 5.92; Sr Se 6.23; Ba Se 6.60; Ca Te 6.35; Sr Te 6.66;
        Ba Te 7.00; Ti C 4.33; Zr C 4.70; Nb C 4.47; Ti N 4.24; Zr N 4.58; Nb N 4.39; Sn Te 6.32;
        Sn Se 6.00; Ge Te 5.98""",
    "cscl": "Cs Cl 4.12; Cs Br 4.29; Cs I 4.57; K Cl 3.75; Na Cl 3.40",
    "zincblende": """Al P 5.46; Al As 5.66; Al Sb 6.14; Ga N 4.55; Ga P 5.45; Ga As 5.65; Ga Sb 6.10;
        In P 5.87; In As 6.06; In Sb 6.48; Zn S 5.41; Zn Se 5.67; Zn Te 6.10; Si C 4.36; Al N 4.38;
        In N 4.98; Mg Te 6.42; Zn O 4.60""",
    "wurtzite": """Zn O 3.25 5.20; Ga N 3.19 5.19; Al N 3.11 4.98; In N 3.54 5.70; Zn S 3.82 6.26;
        Si C 3.08 5.05; Mg Te 4.54 7.40""",
    "diamond": "C 3.57; Si 5.43; Ge 5.66; Sn 6.49",
    "fluorite": "Ca F 5.46; Sr F 5.80; Ba F 6.20; Zr O 5.09; Ba Cl 7.30; Sr Cl 6.98",
    "antifluorite": """O Li 4.62; O Na 5.55; O K 6.44; O Rb 6.74; S Li 5.71; S Na 6.53; S K 7.39;
        Se Li 6.00; Se Na 6.81; Se K 7.68; Te Li 6.50; Te Na 7.31; Te K 8.15; Si Mg 6.35; Ge Mg 6.39;
        Sn Mg 6.76; S Rb 7.65""",
    "perovskite": """Ba Ti O 4.01; Sr Ti O 3.91; Ca Ti O 3.85; K Nb O 4.02; Na Nb O 3.95; Ba Zr O 4.19;
        Sr Zr O 4.14; Ca Zr O 4.10; Ba Sn O 4.12; Sr Sn O 4.04; Ca Sn O 3.97; K Mg F 3.99; K Zn F 4.05;
        K Ca F 4.40; Rb Ca F 4.45; Na Mg F 3.85; Cs Ca F 4.52; Cs Sn Cl 5.60; Cs Sn Br 5.80;
        Cs Sn I 6.20; Cs Ge Cl 5.45; Sr Ge O 3.80""",
    "rutile": """Ti O 4.59 2.96 0.305; Sn O 4.74 3.19 0.307; Ge O 4.40 2.86 0.306; Mg F 4.62 3.05 0.303;
        Zn F 4.70 3.13 0.303; Nb O 4.85 3.03 0.29; Si O 4.18 2.67 0.306""",
    "d03": """Sb K 8.50; Sb Na 7.50; Sb Li 6.57; Sb Rb 8.85; Sb Cs 9.28; As K 8.05; As Na 7.05;
        P Na 6.80""",
    "halfheusler": "Li Zn P 5.78; Li Zn As 5.94; Li Mg P 6.02; Li Mg As 6.19; Li Al Si 5.93",
    "fcc": "Al 4.05; Ca 5.53; Sr 6.05",
    "bcc": "Li 3.44; Na 4.20; K 5.25; Ba 5.02; Nb 3.31",
    "hcp": "Mg 3.20 5.20; Ti 2.95 4.68; Zr 3.23 5.15; Zn 2.70 4.90",
}
HELD_OUT_CRYSTALS = frozenset(
    {"rocksalt-CaSe", "rocksalt-RbBr", "zincblende-GaP", "perovskite-CaZrO3", "antifluorite-Na2Se",
     "perovskite-RbCaF3", "rutile-GeO2"}
)  # fmt: skip
EMPHASISED = frozenset(
    {"rocksalt-NaCl", "rocksalt-MgO", "rocksalt-KCl", "diamond-Si", "diamond-C", "fcc-Al",
     "zincblende-GaAs", "fluorite-CaF2", "d03-K3Sb", "perovskite-BaTiO3", "perovskite-SrTiO3",
     "perovskite-CaTiO3", "perovskite-KNbO3"}
)  # fmt: skip
COUNTS = {
    "fluorite": ("", "2"),
    "antifluorite": ("", "2"),
    "d03": ("", "3"),
    "perovskite": ("", "", "3"),
    "rutile": ("", "2"),
}
MAX_ATOMS = 40
CONVENTIONAL = np.array([[-1, 1, 1], [1, -1, 1], [1, 1, -1]])
DOUBLED_FCC = np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]])
DOUBLED_SQUARE = np.array([[1, 1, 0], [1, -1, 0], [0, 0, 1]])
FCC_LIKE = (
    "rocksalt",
    "zincblende",
    "diamond",
    "fluorite",
    "antifluorite",
    "d03",
    "halfheusler",
    "fcc",
)


@dataclass(frozen=True)
class Crystal:
    """One crystal: prototype, elements in the prototype's order, lattice numbers (Å, last may be u)."""

    prototype: str
    symbols: tuple[str, ...]
    lattice: tuple[float, ...]

    @property
    def name(self) -> str:
        """Prototype and formula, e.g. ``perovskite-BaTiO3``."""
        counts = COUNTS.get(self.prototype, ("",) * len(self.symbols))
        parts = [symbol + count for symbol, count in zip(self.symbols, counts, strict=True)]
        cation_last = self.prototype in ("antifluorite", "d03")
        return f"{self.prototype}-{''.join(parts[::-1] if cation_last else parts)}"


def _parse(prototype: str, entry: str) -> Crystal:
    words = entry.split()
    symbols = tuple(w for w in words if w in chemical_symbols)
    return Crystal(prototype, symbols, tuple(float(w) for w in words[len(symbols) :]))


CRYSTALS: tuple[Crystal, ...] = tuple(
    _parse(prototype, entry) for prototype, text in TABLE.items() for entry in text.split(";")
)


def _fcc_basis(symbols: list[str], fractions: list[float], a: float) -> Atoms:
    """Atoms on the body diagonal of the fcc primitive cell, at `fractions` of the conventional one."""
    cell = 0.5 * a * np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]])
    positions = [np.full(3, f * a) for f in fractions]
    return Atoms(symbols, positions=positions, cell=cell, pbc=True)


def _rutile(cation: str, anion: str, a: float, c: float, u: float) -> Atoms:
    return spacegroup_crystal(
        [cation, anion],
        basis=[(0, 0, 0), (u, u, 0)],
        spacegroup=136,
        cellpar=[a, a, c, 90, 90, 90],
    )


def _perovskite(a_site: str, b_site: str, anion: str, a: float) -> Atoms:
    fractions = [(0, 0, 0), (0.5, 0.5, 0.5), (0.5, 0.5, 0), (0.5, 0, 0.5), (0, 0.5, 0.5)]
    return Atoms([a_site, b_site] + [anion] * 3, scaled_positions=fractions, cell=[a] * 3, pbc=True)


def unit_cell(crystal: Crystal) -> Atoms:
    """The primitive cell at the table's lattice parameters."""
    s, x, p = crystal.symbols, crystal.lattice, crystal.prototype
    if p in ("fcc", "bcc", "diamond"):
        return bulk(s[0], p, a=x[0])
    if p == "hcp":
        return bulk(s[0], p, a=x[0], c=x[1])
    if p == "wurtzite":
        return bulk(s[0] + s[1], p, a=x[0], c=x[1], u=0.376)
    if p == "perovskite":
        return _perovskite(*s, x[0])
    if p == "rutile":
        return _rutile(*s, *x)
    if p == "cscl":
        return Atoms(s, scaled_positions=[(0, 0, 0), (0.5,) * 3], cell=[x[0]] * 3, pbc=True)
    basis = {
        "rocksalt": (s, [0, 0.5]),
        "zincblende": (s, [0, 0.25]),
        "fluorite": (s[:1] + s[1:] * 2, [0, 0.25, 0.75]),
        "antifluorite": (s[:1] + s[1:] * 2, [0, 0.25, 0.75]),
        "d03": (s[:1] + s[1:] * 3, [0, 0.25, 0.5, 0.75]),
        "halfheusler": (s, [0.5, 0.25, 0]),
    }[p]
    return _fcc_basis(list(basis[0]), basis[1], x[0])


def supercell_matrices(crystal: Crystal, n_atoms: int) -> list[np.ndarray]:
    """Supercells of `n_atoms`-atom cells with 4 (perovskites: 5) to `MAX_ATOMS` atoms.

    Diagonal ones, the conventional cube of fcc-like cells, and for cubic perovskites the doublings
    that fold R and M onto Gamma, so that octahedral tilts occur among the frames.
    """
    candidates = [np.diag(d) for d in product((1, 2, 3), repeat=3) if d[0] <= d[1] <= d[2]]
    if crystal.prototype in FCC_LIKE:
        candidates += [CONVENTIONAL] * 3 + [CONVENTIONAL @ np.diag((1, 1, 2))]
    if crystal.prototype in ("perovskite", "cscl"):
        candidates += [DOUBLED_FCC, DOUBLED_SQUARE, DOUBLED_SQUARE @ np.diag((1, 1, 2))]
    low = 5 if crystal.prototype == "perovskite" else 4 if n_atoms < 8 else n_atoms
    sizes = [round(abs(float(np.linalg.det(m)))) * n_atoms for m in candidates]
    return [m for m, n in zip(candidates, sizes, strict=True) if low <= n <= MAX_ATOMS]


def nearest_distance(atoms: Atoms) -> float:
    """Shortest interatomic distance, Å."""
    return float(neighbor_list("d", atoms, 6.0).min())


def _generator(crystal: Crystal, number: int) -> np.random.Generator:
    """The random generator of one frame; depends on its name and number alone."""
    digest = hashlib.sha256(f"{crystal.name}/{number}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "little"))


def _strained(atoms: Atoms, volume: float, shear: np.ndarray) -> Atoms:
    """A copy with its volume changed by the fraction `volume` and a traceless symmetric strain."""
    shear = 0.5 * (shear + shear.T)
    shear = shear - np.eye(3) * np.trace(shear) / 3
    strained: Atoms = atoms.copy()
    cell = atoms.cell.array @ ((1 + volume) ** (1 / 3) * (np.eye(3) + shear))
    strained.set_cell(cell, scale_atoms=True)
    return strained


def frame_plan(crystal: Crystal, relaxed: Atoms, number: int) -> tuple[Atoms, float]:
    """Frame `number` of a crystal and the rattle (standard deviation per coordinate, Å) it had.

    Strain: volume uniform in ±8 %, plus (five frames of six) a traceless symmetric strain with
    components drawn in ±2 %. Rattle: log-uniform between 0.02 Å and the smaller of 0.15 Å and 5 % of
    the nearest-neighbour distance (a thermal amplitude: stiff crystals have short bonds and move
    less). Small supercells are drawn more often than large ones.
    """
    rng = _generator(crystal, number)
    matrices = supercell_matrices(crystal, len(relaxed))
    sizes = np.array([abs(np.linalg.det(m)) for m in matrices]) * len(relaxed)
    weights = sizes**-0.6
    matrix = matrices[rng.choice(len(matrices), p=weights / weights.sum())]
    shear = rng.uniform(-0.02, 0.02, (3, 3)) * (number % 6 != 0)
    atoms = _strained(make_supercell(relaxed, matrix), rng.uniform(-0.08, 0.08), shear)
    high = min(0.15, 0.05 * nearest_distance(relaxed))
    rattle = float(np.exp(rng.uniform(np.log(0.02), np.log(high))))
    atoms.positions += rng.normal(0.0, rattle, (len(atoms), 3))
    atoms.wrap()
    return atoms, rattle


def polar_frame_plan(crystal: Crystal, relaxed: Atoms, number: int) -> tuple[Atoms, float]:
    """A perovskite with its B site moved against its anions by up to 0.25 Å, and the rattle, Å.

    Random frames hardly project on this one mode; without such frames the depth of a ferroelectric
    double well is an extrapolation. Volume ±4 %, shear ±1 %, rattle 0.01 to 0.04 Å.
    """
    rng = _generator(crystal, number)
    shear = rng.uniform(-0.01, 0.01, (3, 3))
    atoms = _strained(relaxed, rng.uniform(-0.04, 0.04), shear)
    axis = np.array([(0, 0, 1), (0, 1, 1), (1, 1, 1)][number % 3]) + rng.normal(0, 0.15, 3)
    shift = rng.uniform(0.0, 0.25) * axis / np.linalg.norm(axis)
    share = rng.uniform(0.5, 0.9)
    atoms.positions[1] += share * shift
    atoms.positions[2:] -= (1 - share) * shift
    # The two anion sites along and across the polar axis move by different amounts.
    atoms.positions[2:] -= rng.uniform(-0.3, 0.3) * np.abs(np.eye(3)[::-1] * shift)
    rattle = float(rng.uniform(0.01, 0.04))
    atoms.positions += rng.normal(0.0, rattle, (len(atoms), 3))
    return atoms, rattle
