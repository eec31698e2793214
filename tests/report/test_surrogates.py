from __future__ import annotations

import pytest

from phonotune.report.surrogates import surrogate_notice, surrogates_among


@pytest.mark.parametrize("labeller", ["vasp", "atomate2.vasp.jobs.core:StaticMaker"])
def test_dft_is_no_surrogate(labeller: str) -> None:
    assert surrogate_notice(labeller) is None


@pytest.mark.parametrize(
    "labeller",
    [
        "teacher",
        "gfn1-xtb",
        "emt",
        "chgnet",
        "mace:mace-mp-0b3",
        "atomate2.forcefields.jobs:ForceFieldStaticMaker",
    ],
)
def test_everything_else_stands_in_for_dft(labeller: str) -> None:
    assert "stands in for DFT" in surrogate_notice(labeller)


def test_an_unknown_labeller_is_not_taken_for_dft() -> None:
    assert surrogate_notice("my.lab:Maker") == "a labeller that is not known to be DFT"


def test_each_surrogate_is_listed_once_and_dft_never() -> None:
    assert list(surrogates_among(["teacher", "vasp", "emt", "teacher"])) == ["teacher", "emt"]
