from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from ase import units
from matplotlib.figure import Figure

from phonotune.errors import InputError
from phonotune.report.plots import plot_bands, plot_bands_and_dos, plot_dos, plot_thermal, save_png
from phonotune.report.plots_phonon import path_segments, path_ticks, point_label
from phonotune.report.style import NARROW


def labelled_lines(figure: Figure, panel: int = 0) -> dict[str, np.ndarray]:
    lines = figure.axes[panel].get_lines()
    return {line.get_label(): line.get_xydata() for line in lines if line.get_label()[0] != "_"}


def test_each_source_has_one_band_line_broken_between_segments(soft) -> None:
    lines = labelled_lines(plot_bands(soft.phonons))
    assert list(lines) == ["reference · teacher", "untuned · mini", "lora · mini"]
    n_segments, n_bands = len(path_segments(soft.phonons[0])), 15
    for line in lines.values():
        assert np.isnan(line[:, 1]).sum() == n_segments * n_bands


def test_no_band_line_crosses_a_break_of_the_path(soft) -> None:
    reference = soft.phonons[0]
    arrays = reference.data.arrays()
    xy = labelled_lines(plot_bands(soft.phonons))["reference · teacher"]
    drawn = np.split(xy[:, 1], np.flatnonzero(np.isnan(xy[:, 1])))[0]
    first = path_segments(reference)[0]
    np.testing.assert_allclose(drawn, arrays["band_frequencies"][first, 0])


def test_imaginary_modes_are_drawn_below_zero_and_named(soft, build: SimpleNamespace) -> None:
    figure = plot_bands(soft.phonons)
    low, _ = figure.axes[0].get_ylim()
    assert low < soft.phonons[0].lowest_frequency < 0
    assert "imaginary" in [t.get_text() for t in figure.axes[0].texts]
    stable = build.phonon(soft.phonons[0].source, build.rocksalt(), 1.0, 0.0)
    assert [t.get_text() for t in plot_bands([stable]).axes[0].texts] == []


def test_ticks_carry_the_names_of_the_path_and_both_names_at_a_break(soft) -> None:
    positions, names = path_ticks(soft.phonons[0])
    assert names == ["Γ", "X", "M", "Γ", "R", "X|M", "R"]
    assert positions == sorted(positions)
    ticks = plot_bands(soft.phonons).axes[0].get_xticklabels()
    assert [t.get_text() for t in ticks] == names


@pytest.mark.parametrize(
    ("stored", "printed"),
    [("GAMMA", "Γ"), (r"$\Gamma$", "Γ"), ("X_1", "X₁"), ("SIGMA_0", "Σ₀"), ("K", "K")],
)
def test_point_names_are_printed_as_in_papers(stored: str, printed: str) -> None:
    assert point_label(stored) == printed


def test_bands_along_another_path_are_refused(soft, build: SimpleNamespace) -> None:
    reference = soft.phonons[0]
    arrays = reference.data.arrays()
    shorter = type(reference.data).pack(**{**arrays, "band_segments": arrays["band_segments"][:2]})
    with pytest.raises(InputError, match="6 path segments"):
        plot_bands([reference.model_copy(update={"data": shorter}), reference])


def test_dos_is_drawn_as_stored_with_its_unit(soft) -> None:
    figure = plot_dos(soft.phonons)
    line = labelled_lines(figure)["lora · mini"]
    arrays = soft.phonons[2].data.arrays()
    np.testing.assert_allclose(line, np.stack([arrays["dos_frequencies"], arrays["dos_total"]], 1))
    assert figure.axes[0].get_xlabel() == "Frequency (THz)"
    assert figure.axes[0].get_ylabel() == "DOS (states/THz)"


def test_bands_and_dos_share_the_frequency_axis(soft) -> None:
    left, right = plot_bands_and_dos(soft.phonons).axes
    assert left.get_ylim() == right.get_ylim()


@pytest.mark.parametrize("width", [NARROW, 2 * NARROW])
def test_thermal_panels_name_quantity_and_unit(soft, width: float) -> None:
    labels = [axes.get_ylabel() for axes in plot_thermal(soft.phonons, width).axes]
    assert labels == ["F (kJ/mol)", "S (J/K/mol)", "Cᵥ (J/K/mol)"]


def test_classical_limit_is_3r_per_mole_of_atoms_and_the_heat_capacity_stays_below(soft) -> None:
    axes = plot_thermal(soft.phonons).axes[2]
    limit = next(line.get_ydata()[0] for line in axes.get_lines() if line.get_linestyle() == ":")
    assert limit == pytest.approx(3 * 5 * units._k * units._Nav)
    assert max(np.max(line.get_ydata()) for line in axes.get_lines()) == limit


def test_png_is_written_on_white(soft, tmp_path) -> None:
    save_png(plot_dos(soft.phonons[:1]), tmp_path / "dos.png", dpi=50)
    assert (tmp_path / "dos.png").read_bytes().startswith(b"\x89PNG")


def test_the_dos_is_split_by_element_when_asked(build: SimpleNamespace) -> None:
    from phonotune.schemas.base import Source
    from phonotune.schemas.blob import Blob

    document = build.phonon(Source(role="reference", evaluator="vasp"), build.rocksalt(), 1.0, 0.0)
    arrays = document.data.arrays()
    parts = np.outer([0.3, 0.7], arrays["dos_total"])
    primitive = build.rocksalt().get_primitive_structure()
    split = document.model_copy(
        update={"unitcell": primitive, "data": Blob.pack(**arrays, dos_projected=parts)}
    )
    figure = plot_dos([split], projected=True)
    names = [site.specie.symbol for site in primitive]
    fills = {c.get_label(): c for c in figure.axes[0].collections}
    assert list(fills) == names
    top = fills[names[1]].get_paths()[0].vertices[:, 1].max()
    assert top == pytest.approx(arrays["dos_total"].max())
    assert "_" not in figure.axes[0].get_legend_handles_labels()[1]


def test_a_document_without_projections_cannot_be_split(soft) -> None:
    with pytest.raises(InputError, match="no projected DOS"):
        plot_dos(soft.phonons, projected=True)
