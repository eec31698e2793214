import bz2
import gzip
import json
import lzma
import re
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
from ase.build import bulk, molecule
from pymatgen.core import Lattice, Structure

from phonotune.data.structures import read_structure
from phonotune.errors import StructureError
from phonotune.schemas.masses import isotope_masses


@pytest.mark.parametrize("name", ["POSCAR", "NaCl.vasp", "NaCl.cif", "NaCl.json", "NaCl.extxyz"])
def test_a_crystal_is_read_from_any_common_format(
    tmp_path: Path, rocksalt: Structure, name: str
) -> None:
    path = tmp_path / name
    if name.endswith("extxyz"):
        ase.io.write(path, rocksalt.to_ase_atoms())
    else:
        rocksalt.to(str(path), fmt="poscar" if name in ("POSCAR", "NaCl.vasp") else "")
    found = read_structure(path)
    assert found.composition == rocksalt.composition
    assert found.matches(rocksalt)
    assert found.volume == pytest.approx(rocksalt.volume, abs=1e-4)


def test_a_format_only_ase_knows_is_read(tmp_path: Path) -> None:
    ase.io.write(tmp_path / "cu.gen", bulk("Cu", cubic=True), format="gen")
    assert read_structure(tmp_path / "cu.gen").composition.reduced_formula == "Cu"


def test_the_cell_keeps_its_orientation_and_order(tmp_path: Path) -> None:
    turned = Structure(
        Lattice([[0, 2.8, 2.8], [2.8, 0, 2.8], [2.8, 2.8, 0]]), ["Cl", "Na"], [[0.5] * 3, [0] * 3]
    )
    turned.to(str(tmp_path / "POSCAR"), fmt="poscar")
    found = read_structure(tmp_path / "POSCAR")
    np.testing.assert_allclose(found.lattice.matrix, turned.lattice.matrix, atol=1e-12)
    assert [site.specie.symbol for site in found] == ["Cl", "Na"]


def test_charges_and_site_properties_are_left_behind(tmp_path: Path, rocksalt: Structure) -> None:
    rocksalt.add_oxidation_state_by_element({"Na": 1, "Cl": -1})
    rocksalt.add_site_property("magmom", [1.0] * 8)
    rocksalt.to(str(tmp_path / "NaCl.json"))
    found = read_structure(tmp_path / "NaCl.json")
    assert {str(site.specie) for site in found} == {"Na", "Cl"}
    assert found.site_properties == {}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("POSCAR", None, "does not exist"),
        ("POSCAR", "", "is empty"),
        ("POSCAR", "this is not a crystal\nat all\n", "no structure that can be read"),
        ("a.cif", "data_nothing\n", "no structure that can be read"),
        ("a.json", json.dumps({"a": 1}), "no structure that can be read"),
        ("vasprun.xml", "<modeling><generator>", "no structure that can be read"),
        ("notes.txt", "hello\n", "no structure that can be read"),
        ("a.extxyz", "hello\n", "cannot be read as extxyz"),
        (
            "POSCAR",
            "Si\n1\n3 0 0\n0 3 0\n0 0 3\nSi\n2147483648\nDirect\n0 0 0\n",
            "states 2147483648 atoms",
        ),
        ("POSCAR", "silicon\n1\n3 0 0\n0 3 0\n0 0 3\n1\nDirect\n0 0 0\n", "not name its"),
    ],
)
def test_a_file_without_a_structure_is_refused(
    tmp_path: Path, name: str, content: str | None, message: str
) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(StructureError, match=message):
        read_structure(tmp_path / name)


def test_the_title_of_an_old_poscar_names_its_elements(tmp_path: Path) -> None:
    (tmp_path / "POSCAR").write_text(
        "Na Cl\n1\n4 0 0\n0 4 0\n0 0 4\n1 1\nDirect\n0 0 0\n0.5 0.5 0.5\n"
    )
    assert [site.specie.symbol for site in read_structure(tmp_path / "POSCAR")] == ["Na", "Cl"]


OLD_POSCAR = "{title}\n1\n4 0 0\n0 4 0\n0 0 4\n1 1\nDirect\n0 0 0\n0.5 0.5 0.5\n"


@pytest.mark.parametrize(("suffix", "pack"), [(".gz", gzip), (".bz2", bz2), (".xz", lzma)])
def test_an_old_poscar_is_read_compressed_as_well(tmp_path: Path, suffix: str, pack: Any) -> None:
    (tmp_path / f"POSCAR{suffix}").write_bytes(
        pack.compress(OLD_POSCAR.format(title="Na Cl").encode())
    )
    found = read_structure(tmp_path / f"POSCAR{suffix}")
    assert [site.specie.symbol for site in found] == ["Na", "Cl"]


def test_an_old_poscar_of_another_encoding_does_not_name_its_elements(tmp_path: Path) -> None:
    (tmp_path / "POSCAR").write_bytes(OLD_POSCAR.format(title="Kochsalz für uns").encode("latin-1"))
    with pytest.raises(StructureError, match="does not name its elements"):
        read_structure(tmp_path / "POSCAR")


@pytest.mark.parametrize("name", ["POSCAR", "a.cif", "a.extxyz", "a.json"])
@pytest.mark.parametrize(("suffix", "pack"), [(".gz", gzip), (".bz2", bz2), (".xz", lzma)])
def test_a_compressed_file_that_is_cut_off_is_refused(
    tmp_path: Path, rocksalt: Structure, name: str, suffix: str, pack: Any
) -> None:
    plain = tmp_path / name
    if name == "a.extxyz":
        ase.io.write(plain, rocksalt.to_ase_atoms())
    else:
        rocksalt.to(str(plain), fmt="poscar" if name == "POSCAR" else "")
    path = tmp_path / f"{name}{suffix}"
    path.write_bytes(pack.compress(plain.read_bytes()))
    assert read_structure(path).composition == rocksalt.composition
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(StructureError, match=name):
        read_structure(path)


@pytest.mark.parametrize("title", ["data_a", "DATA_a", "data_b"])
def test_a_cif_of_two_structures_is_refused(
    tmp_path: Path, rocksalt: Structure, title: str
) -> None:
    path = tmp_path / "two.cif"
    rocksalt.to(str(path))
    (name,) = re.findall("^data_.*", path.read_text(), re.MULTILINE)
    one = path.read_text().replace(name, "data_a")
    path.write_text(one + "\n" + one.replace("data_a", title))
    with pytest.raises(StructureError, match="holds 2 structures; one is needed"):
        read_structure(path)
    path.write_text("data_global\n_journal_year 2020\n\n" + one)
    assert read_structure(path).composition == rocksalt.composition


def test_several_structures_of_a_format_only_ase_knows_are_refused(tmp_path: Path) -> None:
    ase.io.write(tmp_path / "two.traj", [bulk("Cu"), bulk("Cu")])
    with pytest.raises(StructureError, match="holds 2 structures"):
        read_structure(tmp_path / "two.traj")


def test_a_site_of_no_element_is_refused(tmp_path: Path) -> None:
    (tmp_path / "POSCAR").write_text(
        "c\n1\n4 0 0\n0 4 0\n0 0 4\nXx Cl\n1 1\nDirect\n0 0 0\n.5 .5 .5\n"
    )
    with pytest.raises(StructureError, match=r"POSCAR holds Xx.*, which is not an element"):
        read_structure(tmp_path / "POSCAR")


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StructureError, match="is a folder"):
        read_structure(tmp_path)


def test_several_frames_are_refused(tmp_path: Path) -> None:
    ase.io.write(tmp_path / "two.extxyz", [bulk("Cu"), bulk("Cu")])
    with pytest.raises(StructureError, match="holds 2 frames"):
        read_structure(tmp_path / "two.extxyz")


@pytest.mark.parametrize("name", ["h2o.extxyz", "h2o.gen"])
def test_a_molecule_is_refused(tmp_path: Path, name: str) -> None:
    ase.io.write(tmp_path / name, molecule("H2O"))
    with pytest.raises(StructureError, match="not periodic"):
        read_structure(tmp_path / name)


def test_overlapping_atoms_are_refused(tmp_path: Path) -> None:
    close = Structure(Lattice.cubic(4), ["Na", "Cl"], [[0, 0, 0], [0, 0, 0.1]])
    close.to(str(tmp_path / "POSCAR"), fmt="poscar")
    with pytest.raises(StructureError, match=r"POSCAR: .*0\.5 Å"):
        read_structure(tmp_path / "POSCAR")


def test_partial_occupation_is_refused(tmp_path: Path) -> None:
    mixed = Structure(Lattice.cubic(4), [{"Na": 0.5, "K": 0.5}], [[0, 0, 0]])
    mixed.to(str(tmp_path / "mixed.cif"))
    with pytest.raises(StructureError, match="partially occupied"):
        read_structure(tmp_path / "mixed.cif")


@pytest.mark.real_data
def test_real_vasp_files_are_read(real_data_dir: Path) -> None:
    unitcell = read_structure(real_data_dir / "nacl-vasp" / "POSCAR-unitcell")
    cell = read_structure(real_data_dir / "nacl-vasp" / "disp-001" / "vasprun.xml")
    assert len(cell) == 8 * len(unitcell)
    assert cell.volume == pytest.approx(8 * unitcell.volume, rel=1e-6)


_SITES = "Li 0 0 0 {}\n{} 2.1 2.1 2.1 {}\n"
_HEAD = '2\nLattice="0 2.1 2.1 2.1 0 2.1 2.1 2.1 0" Properties=species:S:1:pos:R:3{}\n'


def test_isotopes_and_masses_are_kept_from_any_format(tmp_path: Path) -> None:
    poscar = "Li Q\n1.0\n0 2.1 2.1\n2.1 0 2.1\n2.1 2.1 0\nLi Q\n1 1\nDirect\n0 0 0\n0.5 0.5 0.5\n"
    cif = (
        "data_LiQ\n_cell_length_a 4\n_cell_length_b 4\n_cell_length_c 4\n_cell_angle_alpha 90\n"
        "_cell_angle_beta 90\n_cell_angle_gamma 90\nloop_\n_atom_site_label\n_atom_site_type_symbol\n"
        "_atom_site_fract_x\n_atom_site_fract_y\n_atom_site_fract_z\nLi1 Li 0 0 0\nQ1 Q 0.5 0.5 0.5\n"
    )
    columns = _HEAD.format("") + _SITES.format("", "Q", "")
    for isotope, mass in (("D", 2.014101778), ("T", 3.016049281)):
        for name, text in (("POSCAR", poscar), ("a.cif", cif), ("a.extxyz", columns)):
            path = tmp_path / name
            path.write_text(text.replace("Q", isotope))
            found = read_structure(path)
            assert isotope_masses(found) == [None, mass]
            assert [site.specie.name for site in found] == ["Li", "H"]
            found.to(str(tmp_path / "again.json"))
            assert read_structure(tmp_path / "again.json") == found


@pytest.mark.parametrize("name", ["masses", "mass"])
def test_a_column_of_masses_is_read_and_natural_ones_are_left_out(
    tmp_path: Path, name: str
) -> None:
    path = tmp_path / "a.extxyz"
    path.write_text(_HEAD.format(f":{name}:R:1") + _SITES.format(6.015, "H", 1.008))
    assert isotope_masses(read_structure(path)) == [6.015, None]
    path.write_text(_HEAD.format(f":{name}:R:1") + _SITES.format(6.94, "H", 1.008))
    assert read_structure(path).site_properties == {}
    path.write_text(_HEAD.format(f":{name}:R:1") + _SITES.format(12650.0, "H", 1837.0))
    with pytest.raises(StructureError, match=r"12650 for Li is not one in amu"):
        read_structure(path)


def test_a_phonopy_yaml_gives_its_unit_cell_with_masses(tmp_path: Path) -> None:
    (tmp_path / "phonopy_disp.yaml").write_text(
        "phonopy: {version: 2.7.0, calculator: qe}\n"
        "supercell_matrix: [[1, 0, 0], [0, 1, 0], [0, 0, 1]]\n"
        "unit_cell:\n"
        "  lattice: [[8.0, 0.0, 0.0], [0.0, 8.0, 0.0], [0.0, 0.0, 8.0]]\n"
        "  points:\n"
        "  - {symbol: Li, coordinates: [0.0, 0.0, 0.0], mass: 6.941}\n"
        "  - {symbol: H, coordinates: [0.5, 0.5, 0.5], mass: 2.014}\n"
    )
    found = read_structure(tmp_path / "phonopy_disp.yaml")
    assert isotope_masses(found) == [None, 2.014]
    assert found.lattice.a == pytest.approx(8 * 0.529177, rel=1e-6)
