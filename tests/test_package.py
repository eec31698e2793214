"""The package root: light to import, every public name there."""

import subprocess
import sys

import pytest

import phonotune


@pytest.mark.parametrize("name", phonotune.__all__)
def test_every_public_name_can_be_had(name):
    assert getattr(phonotune, name).__name__ == name


def test_importing_the_package_loads_neither_torch_nor_pymatgen():
    code = (
        "import phonotune, sys; print(sorted({'torch', 'pymatgen', 'jobflow'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="Phononmaker"):
        _ = phonotune.Phononmaker


def test_the_version_is_that_of_the_distribution():
    assert phonotune.__version__.count(".") == 2
    assert "PhonotuneMaker" in dir(phonotune)
