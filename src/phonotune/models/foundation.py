"""Foundation models: a name or a file becomes a verified, plain MACE module.

Three sources: the models that ship with phonotune (safetensors), mace-torch's own periodic
foundation models (its cached downloads over https) and ``.model`` files that the user trusts.
"""

from __future__ import annotations

import contextlib
import copy
import http.client
import io
import pickle
import sys
from functools import lru_cache
from pathlib import Path
from typing import Final

import torch

from phonotune.errors import FoundationError, unknown_name
from phonotune.models.architecture import load_shipped, shipped_sha256
from phonotune.models.evaluate import torch_dtype
from phonotune.models.graphs import GraphSpec
from phonotune.models.trust import read_verified, sha256_of, trust, trusted_files
from phonotune.schemas.training import FoundationRecord

SHIPPED: Final = ("mini", "teacher")
"""Models in the package: toys, for demos and tests, not for science."""

ALIASES: Final = {
    "mace-mp-0": "medium",
    "mace-mp-0b3": "medium-0b3",
    "mace-mpa-0": "medium-mpa-0",
    "mace-omat-0": "medium-omat-0",
}
"""The models' published names, by mace-torch's names for them."""

_UNREADABLE = (
    pickle.UnpicklingError,
    AttributeError,
    EOFError,
    ImportError,
    KeyError,
    RuntimeError,
    TypeError,
    ValueError,
)


def _mace_urls() -> dict[str, str]:
    from mace.calculators.foundations_models import mace_mp_urls

    return dict(mace_mp_urls)


def foundation_names() -> tuple[str, ...]:
    """Every name that :func:`find_foundation` knows: shipped, published and mace-torch's."""
    return (*SHIPPED, *ALIASES, *_mace_urls())


def elements_of(model: torch.nn.Module) -> tuple[str, ...]:
    """Return the chemical symbols that a MACE model knows, in its order."""
    return GraphSpec.of(model).symbols


def cutoff_of(model: torch.nn.Module) -> float:
    """Return the cutoff radius of a MACE model, Å."""
    return GraphSpec.of(model).r_max


def trust_file(path: str | Path) -> FoundationRecord:
    """Allow a ``.model`` file to be loaded, by its sha256; the file itself is not loaded.

    Raises
    ------
    FoundationError
        There is no such file, or the ledger cannot be written.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FoundationError(f"There is no file {path}; give the path of a .model file.")
    record = FoundationRecord(name=path.name, sha256=sha256_of(path))
    trust(record.name, path, record.sha256)
    return record


def find_foundation(name_or_path: str | Path) -> FoundationRecord:
    """Resolve a foundation model to its name and the sha256 of its file; nothing is unpickled.

    Parameters
    ----------
    name_or_path
        One of :func:`foundation_names` (downloaded once by mace-torch where needed), the path of a
        trusted ``.model`` file, or the file name of one that was trusted on this machine.

    Raises
    ------
    FoundationError
        Unknown name; no network and no cached file; a file that is not trusted.
    """
    name = str(name_or_path)
    if name in SHIPPED:
        return FoundationRecord(name=name, sha256=shipped_sha256(name))
    key = ALIASES.get(name, name)
    if key in _mace_urls():
        return FoundationRecord(name=name, sha256=sha256_of(_downloaded(key)))
    path = Path(name_or_path).expanduser()
    if path.is_file():
        return _trusted_record(path)
    for file in reversed(trusted_files()):
        if file.name == name:
            return FoundationRecord(name=name, sha256=file.sha256)
    if path.suffix or len(path.parts) > 1:
        raise FoundationError(f"There is no foundation file {path}; check the path.")
    raise FoundationError(
        f"{unknown_name('foundation model', name, foundation_names())} "
        "The path of a trusted .model file will do as well."
    )


def load_foundation(
    foundation: str | Path | FoundationRecord, dtype: str = "float64"
) -> torch.nn.Module:
    """Load a foundation model as a plain MACE module on the CPU, in evaluation mode.

    Every call returns its own copy, free to be tuned; a process reads each file once.

    Parameters
    ----------
    foundation
        What :func:`find_foundation` takes, or the record that it returned, here or elsewhere.
    dtype
        ``"float64"`` or ``"float32"``.

    Raises
    ------
    FoundationError
        As :func:`find_foundation`; the file does not have the record's sha256; it is no MACE model.
    """
    if not isinstance(foundation, FoundationRecord):
        foundation = find_foundation(foundation)
    return copy.deepcopy(_load(foundation.name, foundation.sha256, dtype))


@lru_cache(maxsize=4)
def _load(name: str, sha256: str, dtype: str) -> torch.nn.Module:
    if name in SHIPPED:
        if (found := shipped_sha256(name)) != sha256:
            raise FoundationError(
                f"The shipped model {name!r} has sha256 {found[:12]}, expected {sha256[:12]}: it "
                "changed with the version of phonotune. Install that version or tune again."
            )
        return load_shipped(name, torch_dtype(dtype)).eval()
    path = _path_of(name, sha256)
    model = _unpickle(read_verified(path, sha256), path)
    return model.to(torch_dtype(dtype)).eval()


def _path_of(name: str, sha256: str) -> Path:
    key = ALIASES.get(name, name)
    if key in _mace_urls():
        return _downloaded(key)
    for file in trusted_files():
        if file.sha256 == sha256 and file.path.is_file():
            return file.path
    raise FoundationError(
        f"The foundation file {name} (sha256 {sha256[:12]}) is not known on this machine. "
        "Copy it here and run `phonotune models trust FILE`."
    )


def _trusted_record(path: Path) -> FoundationRecord:
    sha256 = sha256_of(path)
    if all(file.sha256 != sha256 for file in trusted_files()):
        raise FoundationError(
            f"{path} (sha256 {sha256[:12]}) is a pickle and could run any code when loaded. "
            f"If you know where it comes from, allow it with `phonotune models trust {path}`."
        )
    trust(path.name, path, sha256)
    return FoundationRecord(name=path.name, sha256=sha256)


def _downloaded(key: str) -> Path:
    """Return mace-torch's cached file of a model, downloaded if needed, pinned at its first use."""
    path = _download(key)
    pin, sha256 = f"mace-torch:{key}", sha256_of(path)
    known = trusted_files()
    if any(file.sha256 == sha256 for file in known):
        return path
    if any(file.name == pin for file in known):
        raise FoundationError(
            f"{path} changed since {key!r} was first used (now sha256 {sha256[:12]}). Remove it to "
            f"download it again, or allow it with `phonotune models trust {path}`."
        )
    trust(pin, path, sha256)
    return path


def _download(key: str) -> Path:
    from mace.calculators.foundations_models import download_mace_mp_checkpoint
    from mace.tools.utils import get_cache_dir

    try:
        with contextlib.redirect_stdout(sys.stderr):
            return Path(download_mace_mp_checkpoint(key))
    except (OSError, RuntimeError, http.client.HTTPException) as error:
        url = _mace_urls()[key]
        name = next((name for name, alias in ALIASES.items() if alias == key), key)
        raise FoundationError(
            f"The foundation model {name!r} is not in mace-torch's cache and could not be "
            f"downloaded from {url} ({error}). Download it elsewhere and save it as "
            f"{get_cache_dir() / cached_name(url)}, or give it with --foundation FILE."
        ) from error


def cached_name(url: str) -> str:
    """Return the file name under which mace-torch caches a download."""
    return "".join(c for c in url.rsplit("/", 1)[-1] if c.isalnum() or c == "_")


def _unpickle(content: bytes, path: Path) -> torch.nn.Module:
    try:
        model = torch.load(io.BytesIO(content), map_location="cpu", weights_only=False)
    except ModuleNotFoundError as error:
        raise FoundationError(
            f"{path} needs the Python package {error.name!r} to be loaded. "
            "Install it, or export the model as plain e3nn MACE."
        ) from error
    except _UNREADABLE as error:
        raise FoundationError(
            f"{path} cannot be read as a MACE model ({error}). "
            "Give a .model file that mace-torch wrote."
        ) from error
    is_mace = hasattr(model, "atomic_numbers") and hasattr(model, "r_max")
    if not isinstance(model, torch.nn.Module) or not is_mace:
        raise FoundationError(
            f"{path} holds a {type(model).__name__}, not a MACE model. "
            "Give a .model file that mace-torch wrote, not a checkpoint or a state dict."
        )
    return model
