from pathlib import Path

import numpy as np
import pytest

from phonotune.errors import FramesError
from phonotune.physics.phonon.frames import read_displacement_frames

PHONOPY_HEAD = """
phonopy:
  version: "2.20.0"
supercell_matrix:
- [1, 0, 0]
- [0, 1, 0]
- [0, 0, 1]
unit_cell: &cell
  lattice:
  - [4.0, 0.0, 0.0]
  - [0.0, 4.0, 0.0]
  - [0.0, 0.0, 4.0]
  points:
  - {symbol: Cs, coordinates: [0.0, 0.0, 0.0], mass: 132.9}
  - {symbol: Cl, coordinates: [0.5, 0.5, 0.5], mass: 35.45}
supercell: *cell
"""


def test_random_displacements_of_phonopy_are_a_group_each(tmp_path: Path) -> None:
    path = tmp_path / "phonopy_params.yaml"
    rows = "".join(
        f"- # {i}\n"
        "  - {displacement: [0.01, 0.0, 0.0], force: [-0.5, 0.0, 0.0]}\n"
        "  - {displacement: [0.0, -0.02, 0.0], force: [0.5, 0.0, 0.25]}\n"
        for i in (1, 2)
    )
    path.write_text(f"{PHONOPY_HEAD}displacements:\n{rows}supercell_energies: [-1.5, -2.5]\n")
    frames = read_displacement_frames(path, path.name)
    assert [frame.energy for frame in frames] == [-1.5, -2.5]
    assert len({frame.group for frame in frames}) == 2
    np.testing.assert_allclose(frames[0].forces, [[-0.5, 0, 0], [0.5, 0, 0.25]])
    np.testing.assert_allclose(
        frames[0].structure.cart_coords, [[0.01, 0, 0], [2, 1.98, 2]], atol=1e-12
    )


SINGLE = """displacements:
- atom: 2
  displacement: [0.0, 0.0, 0.01]
  forces:
  - [0.0, 0.0, 0.1]
  - [0.0, 0.0, -0.1]
"""


def test_symmetry_reduced_displacements_are_one_group_without_energy(tmp_path: Path) -> None:
    path = tmp_path / "phonopy_params.yaml"
    path.write_text(PHONOPY_HEAD + SINGLE)
    (frame,) = read_displacement_frames(path, path.name)
    assert frame.energy is None
    assert frame.group == "phonopy_params.yaml"
    np.testing.assert_allclose(frame.structure.cart_coords, [[0, 0, 0], [2, 2, 2.01]], atol=1e-12)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: [1", "cannot be read as a phonopy yaml"),
        ("a: 1\n", "no unit cell and supercell matrix"),
        (PHONOPY_HEAD, "no displaced supercell"),
        (PHONOPY_HEAD + SINGLE.partition("  forces")[0], "without forces"),
        (
            PHONOPY_HEAD.replace("version:", "calculator: dft1\n  version:") + SINGLE,
            "Unknown calc.*dft1",
        ),
        (
            PHONOPY_HEAD + SINGLE.replace("atom: 2", "atom: 3"),
            "not those of a supercell of 2 atoms",
        ),
        (
            PHONOPY_HEAD
            + "dataset:\n  displacements: [[[0, 0, 0.01], [0, 0, 0]], [[0, 0, 0.01], [0, 0, 0]]]\n"
            "  forces: [[[0, 0, 0.1], [0, 0, -0.1]]]\n",
            "not those of a supercell of 2 atoms",
        ),
        (PHONOPY_HEAD + SINGLE.replace(" 0.1]", " .nan]"), "infinite or not a number"),
    ],
)
def test_phonopy_files_without_usable_frames_are_refused(
    tmp_path: Path, text: str, reason: str
) -> None:
    (tmp_path / "p.yaml").write_text(text)
    with pytest.raises(FramesError, match=reason):
        read_displacement_frames(tmp_path / "p.yaml", "p.yaml")


def test_frames_of_another_calculator_come_in_angstrom_and_ev(tmp_path: Path) -> None:
    bohr, rydberg = 0.529177, 13.605699
    path = tmp_path / "p.yaml"
    path.write_text(PHONOPY_HEAD.replace("version:", "calculator: qe\n  version:") + SINGLE)
    (frame,) = read_displacement_frames(path, path.name)
    np.testing.assert_allclose(frame.structure.lattice.abc, 4 * bohr, rtol=1e-6)
    np.testing.assert_allclose(
        frame.structure.cart_coords[1], bohr * np.array([2, 2, 2.01]), rtol=1e-6
    )
    np.testing.assert_allclose(frame.forces[0], [0, 0, 0.1 * rydberg / bohr], rtol=1e-6)
