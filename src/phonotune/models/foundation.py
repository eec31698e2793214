"""Foundation models: which file a name means, and its sha256; nothing here loads torch.

Three sources: the models that ship with phonotune (safetensors), mace-torch's own periodic
foundation models (its cached downloads over https) and ``.model`` files that the user trusts.
"""

from __future__ import annotations

import ast
import contextlib
import http.client
import os
import sys
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from phonotune.errors import FoundationError, unknown_name
from phonotune.models.licences import require_licence
from phonotune.models.shipped import SHIPPED, shipped_sha256
from phonotune.models.trust import sha256_of, trust, trusted_files
from phonotune.schemas.foundations import FOUNDATIONS, NOTHING_KNOWN, FoundationRow
from phonotune.schemas.training import FoundationRecord

ALIASES: Final = {
    "mace-mp-0": "medium",
    "mace-mp-0b3": "medium-0b3",
    "mace-mpa-0": "medium-mpa-0",
    "mace-omat-0": "medium-omat-0",
    "mace-mh-0": "mh-0",
    "mace-mh-1": "mh-1",
}
"""The models' published names, by mace-torch's names for them."""


_LISTS: Final = {
    "mace_mp_urls": "{}",
    "mace_off_urls": "mace-off23-{}",
    "polar_model_urls": "{}",
    "urls": "mace-omol-0",
    "model_url": "mace-anicc",
}
"""Our names for the models of each list of addresses in mace-torch's source, by the list's name there."""


@lru_cache(maxsize=1)
def mace_urls() -> dict[str, str]:
    """Return the addresses of mace-torch's foundation models by their names here.

    They are read from mace-torch's source: importing it takes seconds.
    """
    package = find_spec("mace")
    found: dict[str, str] = {}
    for folder in (package and package.submodule_search_locations) or ():
        source = Path(folder) / "calculators" / "foundations_models.py"
        tree = ast.parse(source.read_text(encoding="utf-8") if source.is_file() else "")
        for node in ast.walk(tree):
            if not isinstance(node, ast.Assign) or ast.unparse(node.targets[0]) not in _LISTS:
                continue
            with contextlib.suppress(ValueError):  # not an address, but where one is looked up
                listed, name = ast.literal_eval(node.value), _LISTS[ast.unparse(node.targets[0])]
                named = listed if isinstance(listed, dict) else {"": listed}
                found |= {name.format(key): url for key, url in named.items()}
    if found:
        return found
    from phonotune.models.mace_parts import (
        foundation_urls,  # a mace-torch that is laid out otherwise
    )

    return foundation_urls()


def mace_cache() -> Path:
    """Return the folder into which mace-torch downloads."""
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "mace"


def foundation_names() -> tuple[str, ...]:
    """Every name that :func:`find_mace` knows: shipped, published and mace-torch's."""
    return (*SHIPPED, *ALIASES, *mace_urls())


def made_on(record: FoundationRecord) -> str:
    """Return the level of theory that a foundation was made on; empty where it is not stated."""
    if record.potential is not None:
        return record.potential.level_of_theory
    return row_of(record.name).level_of(record.head)


def row_of(name: str) -> FoundationRow:
    """Return what is known of a foundation of mace-torch; of any other name, nothing."""
    return FOUNDATIONS.get(ALIASES.get(name, name), NOTHING_KNOWN)


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


def find_mace(name_or_path: str | Path) -> FoundationRecord:
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
    if key in mace_urls():
        return FoundationRecord(name=name, sha256=sha256_of(_downloaded(key, name)))
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


def foundation_file(name: str, sha256: str) -> Path:
    """Return the file of a foundation that does not ship with the package.

    Raises
    ------
    FoundationError
        It is neither a download of mace-torch nor a trusted file of this machine.
    """
    key = ALIASES.get(name, name)
    if key in mace_urls():
        return _downloaded(key, name)
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


def _downloaded(key: str, shown: str = "") -> Path:
    """Return mace-torch's cached file of a model, downloaded if needed, pinned at its first use."""
    require_licence(key, shown or key)
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
    url, cached = mace_urls()[key], cached_file(key)
    if cached.is_file():
        return cached
    from phonotune.models.mace_parts import download_foundation

    try:
        with contextlib.redirect_stdout(sys.stderr):
            return download_foundation(url)
    except (OSError, RuntimeError, http.client.HTTPException) as error:
        name = next((name for name, alias in ALIASES.items() if alias == key), key)
        raise FoundationError(
            f"The foundation model {name!r} is not in mace-torch's cache and could not be "
            f"downloaded from {url} ({error}). Download it elsewhere and save it as "
            f"{cached}, or give it with --foundation FILE."
        ) from error


def cached_file(key: str) -> Path:
    """Return where a model of mace-torch is cached, or would be.

    mace-torch itself keeps some models under the whole name of the download.
    """
    url = mace_urls()[key]
    whole = mace_cache() / url.rsplit("/", 1)[-1]
    return whole if whole.is_file() else mace_cache() / cached_name(url)


def cached_name(url: str) -> str:
    """Return the file name under which mace-torch caches a download."""
    return "".join(c for c in url.rsplit("/", 1)[-1] if c.isalnum() or c == "_")
