"""vaspout.h5 as py4vasp's schema describes it; no file of a real run was at hand."""

import gzip
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from vasp_runs import made_up_run, write_run

from phonotune.data.importers import Importer, import_frames
from phonotune.data.vasp import NO_FULL_STRESS, VECTORS
from phonotune.data.vaspout import CONVERGENCE, PRESSURE, read_vaspout
from phonotune.errors import FramesError

TITLES = "   TITEL  = PAW_PBE Mg 13Apr2007\n   ENMAX  =  200.000; ENMIN  =  150.0 eV\n"
TITLES += "   TITEL  = PAW_PBE O 08Apr2002\n   ENMAX  =  400.000; ENMIN  =  300.0 eV\n"


def write(path: Path, changes: dict[str, str] | None = None, **parts: Any) -> Path:
    """Write vaspout.h5 of the made-up run; `parts` replace or (None) remove datasets of the ionic steps."""
    run = made_up_run(changes or {}, "6.5.0")
    step = run.steps[0]
    values = {
        "energies_tags": np.array(
            ["free energy    TOTEN   ", "energy without entropy "], dtype="S"
        ),
        "energies": np.array([[step.energy, step.energy + 1.0]]),
        "forces": step.forces[None],
        "stress": -step.stress[None] * 1602.1766340,
        "position_ions": step.atoms.get_scaled_positions()[None],
        "lattice_vectors": step.atoms.cell.array[None],
        "oszicar": np.array([[n + 1.0, -1.0] for n in range(8)]),
    }
    with h5py.File(path, "w") as file:
        for key, value in run.incar.items():
            file[f"input/incar/{key}"] = 1 if value in ("T", ".TRUE.") else value
        file["input/potcar/content"] = TITLES
        file["results/positions/ion_types"] = np.array(["Mg", "O"], dtype="S")
        file["results/positions/number_ion_types"] = np.array([1, 1])
        file["results/positions/scale"] = parts.pop("scale", 1.0)
        file["results/positions/lattice_vectors"] = parts.pop("end", values["lattice_vectors"][0])
        for name, value in (values | parts).items():
            if value is not None:
                file[f"intermediate/ion_dynamics/{name}"] = value
    return path


@pytest.mark.parametrize(
    "changes",
    [{}, {"LREAL": "Auto", "LASPH": ".TRUE."}, {"ENCUT": "", "ISMEAR": "", "SIGMA": ""}],
    ids=str,
)
def test_it_gives_the_labels_and_the_protocol_of_vasprun(
    tmp_path: Path, changes: dict[str, str]
) -> None:
    xml, _ = write_run(tmp_path / "run", changes, "6.5.0")
    one, two = Importer([xml, write(tmp_path / "run" / "vaspout.h5", changes)])
    assert one.protocol == two.protocol
    assert one.energy == two.energy
    np.testing.assert_allclose(one.forces, two.forces, atol=1e-8)
    np.testing.assert_allclose(one.stress, two.stress, atol=1e-8)
    np.testing.assert_allclose(one.structure.cart_coords, two.structure.cart_coords, atol=1e-7)


def test_electronic_steps_are_counted_where_they_are_told(tmp_path: Path) -> None:
    rows = np.array([[n + 1.0, -1.0] for n in range(60)])
    with pytest.raises(FramesError, match="60 steps taken, 60 allowed"):
        import_frames([write(tmp_path / "vaspout.h5", oszicar=rows)])
    importer = Importer([write(tmp_path / "vaspout.h5", oszicar=None)])
    assert len(list(importer)) == 1
    assert list(importer.notes) == [CONVERGENCE]


def test_the_scale_of_poscar_counts_once(tmp_path: Path) -> None:
    """The cell at the end, without the scale, tells whether the cells of the steps have it."""
    cell = 4.2 * np.eye(3)
    for inside in (cell[None], cell[None] / 4.2):
        path = write(tmp_path / "vaspout.h5", scale=4.2, end=np.eye(3), lattice_vectors=inside)
        (step,) = read_vaspout(path)
        assert step.structure.lattice.a == pytest.approx(4.2)


def test_what_it_cannot_tell_is_left_out_and_said(tmp_path: Path) -> None:
    said: list[str] = []
    changes = {"ISIF": "0", "PSTRESS": "10.0"}
    (step,) = read_vaspout(write(tmp_path / "vaspout.h5", changes), said.append)
    assert (step.energy, step.stress) == (None, None)
    assert said == [PRESSURE, NO_FULL_STRESS]
    for key, reason in (("ML_LMLFF", "ML_ABN"), ("IMAGES", "nudged elastic band")):
        with pytest.raises(FramesError, match=reason):
            import_frames([write(tmp_path / "vaspout.h5", {key: "T"})])


@pytest.mark.parametrize("axes", [["x"], ["x", "y", "z"]])
def test_collinear_moments_are_summed_and_vectors_left_behind(
    tmp_path: Path, axes: list[str]
) -> None:
    path = write(tmp_path / "vaspout.h5")
    moments = np.zeros((1, 1 + len(axes), 2, 3))
    moments[0, 1] = [[0.1, 0.2, 0.3], [0.0, 0.0, -0.5]]
    with h5py.File(path, "a") as file:
        group = file.create_group("intermediate/ion_dynamics/magnetism/spin_moments")
        group["components"] = np.array(["charge", *axes], dtype="S")
        group["values"] = moments
    said: list[str] = []
    (step,) = read_vaspout(path, said.append)
    if len(axes) == 1:
        np.testing.assert_allclose(step.magmoms, [0.6, -0.5])
    else:
        assert (step.magmoms, said) == (None, [VECTORS])


def test_files_of_another_kind_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "vaspout.h5"
    path.write_text("hello")
    with pytest.raises(FramesError, match="cannot be read"):
        import_frames([path])
    with h5py.File(path, "w") as file:
        file["positions"] = 1
    with pytest.raises(FramesError, match=r"not a vaspout\.h5 with forces"):
        import_frames([path])


@pytest.mark.parametrize("counts", [[1, 10**15], [3, -1]])
def test_elements_of_other_atoms_than_the_positions_are_refused(
    tmp_path: Path, counts: list[int]
) -> None:
    path = write(tmp_path / "vaspout.h5")
    with h5py.File(path, "a") as file:
        file["results/positions/number_ion_types"][()] = counts
    with pytest.raises(FramesError, match="positions of 2 atoms, elements of"):
        import_frames([path])


def test_a_compressed_file_reads_alike(tmp_path: Path) -> None:
    path = write(tmp_path / "vaspout.h5")
    (tmp_path / "vaspout.h5.gz").write_bytes(gzip.compress(path.read_bytes()))
    one, two = (read_vaspout(p)[0] for p in (path, tmp_path / "vaspout.h5.gz"))
    assert one.energy == two.energy
