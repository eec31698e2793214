"""`sample`: from a crystal to frames that `label` takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from phonotune.data.extxyz import read_frames

CONFIG = """
rattle: {n_cells: 2, volumes: [0.0, 2.5], min_length: 5.0, max_atoms: 20}
relaxation: {max_steps: 3}
"""


@pytest.fixture
def options(tmp_path: Path) -> list[object]:
    """`sample` of caesium chloride, small and quick."""
    crystal, config = tmp_path / "cscl.cif", tmp_path / "config.yaml"
    Structure(Lattice.cubic(4.2), ["Cs", "Cl"], [[0, 0, 0], [0.5] * 3]).to(filename=str(crystal))
    config.write_text(CONFIG)
    return ["sample", crystal, "--foundation", "mini", "--config", config, "--budget", "8"]


def test_sample_writes_frames_with_groups_and_reasons_that_label_takes(
    options: list[object], cli: Any, tmp_path: Path
) -> None:
    output = tmp_path / "frames.extxyz"
    found = cli(*options, "-o", output)
    frames = read_frames(output, need=())
    assert found["frames"] == len(frames) == sum(found["groups"].values()) <= 8
    assert {frame.group for frame in frames} == set(found["groups"])
    assert all(frame.origin for frame in frames)
    assert all(frame.energy is None and frame.forces is None for frame in frames)
    assert found["unconverged"] == ["volume +0.0 %", "volume +2.5 %"]
    labelled = cli("label", output, "--labeller", "teacher", "-o", tmp_path / "labelled.extxyz")
    assert labelled["labelled"] == len(frames)


def test_the_seed_alone_decides_the_frames(options: list[object], cli: Any, tmp_path: Path) -> None:
    first: dict[int, np.ndarray] = {}
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        output = tmp_path / name
        cli(*options, "--method", "random", "--seed", seed, "-o", output)
        positions = read_frames(output, need=())[0].structure.cart_coords
        if name == "b":
            np.testing.assert_allclose(positions, first[seed], atol=1e-9)
        elif name == "c":
            assert not np.allclose(positions, first[0], atol=1e-3)
        first.setdefault(seed, positions)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--method", "fsp"], "'fps'"),
        (["--foundation", "mimi"], "Did you mean 'mini'"),
        (["--config", "nothing.yaml"], "cannot be read"),
    ],
)
def test_wrong_options_stop_sample_before_it_starts(
    options: list[object], cli: Any, tmp_path: Path, more: list[str], message: str
) -> None:
    output = tmp_path / "frames.extxyz"
    found = cli.error(*options, *more, "-o", output)
    assert message in found
    assert "\n" not in found
    assert not output.exists()


def test_an_element_unknown_to_the_foundation_stops_sample(cli: Any, tmp_path: Path) -> None:
    path = tmp_path / "u.cif"
    Structure(Lattice.cubic(3.5), ["U"], [[0, 0, 0]]).to(filename=str(path))
    message = cli.error("sample", path, "--foundation", "mini", "-o", tmp_path / "f.extxyz")
    assert "mini" in message
