"""The file of a campaign: materials, a grid of trainings, fields of PhonotuneMaker; refusals name the line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from phonotune.cli.config import maker_of
from phonotune.cli.options import Masses
from phonotune.errors import ConfigError, InputError, StructureError, invalid_value, unknown_name
from phonotune.flows.yaml_file import Lines, read_with_lines

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from phonotune.flows.campaign import CampaignMaker

_GRID: Final[dict[str, type]] = {"foundations": str, "recipes": str, "frames": int, "seeds": int}
_OWN: Final = ("name", "structures", "masses", *_GRID)
_ADVICE: Final = "Write one like `structures: [crystals/*.cif]`."


def read_campaign(file: Path) -> tuple[CampaignMaker, dict[str, Structure]]:
    """Read a campaign's file; return its Maker and the crystals by name.

    Raises
    ------
    ConfigError
        The file cannot be read, or holds an unknown key or a wrong value; the message names the line.
    StructureError
        No crystal, one that cannot be read or made, or the same one twice.
    """
    from phonotune.flows.campaign import CampaignMaker, check_crystals
    from phonotune.models.engines import find_foundation
    from phonotune.schemas.base import structure_hash
    from phonotune.schemas.masses import with_natural_masses

    content, lines = read_with_lines(file, "campaign", _ADVICE)
    masses = str(content.get("masses", Masses.stated))
    with _line(file, lines, "masses"):
        if masses not in tuple(Masses):
            raise unknown_name("masses", masses, tuple(Masses))
    for key, value in content.items():
        if key not in _OWN:
            with _line(file, lines, key):
                maker_of({key: value}, {}, None, extra=_OWN)
    maker = maker_of({k: v for k, v in content.items() if k not in _OWN}, {}, None)
    check_names(maker, file, lines)
    grid: dict[str, Any] = {key: _axis(key, content, file, lines) for key in _GRID}
    campaign = CampaignMaker(str(content.get("name", file.stem)), maker, **grid)
    for index, strategy in enumerate(maker.strategies):
        with _line(file, lines, "strategies", index):
            campaign.known_recipes(strategy)
    for index, foundation in enumerate(campaign.foundations):
        with _line(file, lines, "foundations", index):
            find_foundation(foundation, maker.head)
    items = content.get("structures", [])
    with _line(file, lines, "structures"):
        if not isinstance(items, list):
            raise ConfigError(
                f"structures must be a list of files, prototypes or numbers of the Materials Project, "
                f"found {items!r}."
            )
    crystals: dict[str, Structure] = {}
    seen: dict[str, tuple[str, int]] = {}
    for index, item in enumerate(items):
        with _line(file, lines, "structures", index):
            for name, crystal in _crystals(item, file):
                made = with_natural_masses(crystal) if masses == Masses.natural else crystal
                number = lines["structures", index]
                first, line = seen.setdefault(structure_hash(made), (name, number))
                if first != name:
                    raise StructureError(
                        f"{first} (line {line}) and {name} are the same crystal. Remove one of them."
                    )
                if name in crystals:
                    raise StructureError(
                        f"Two crystals are called {name!r}. Give one of them another `name`."
                    )
                crystals[name] = made
    check_crystals(crystals)
    return campaign, crystals


def _axis(key: str, content: dict[Any, Any], file: Path, lines: Lines) -> list[Any]:
    """Return the values of one axis of the grid: of one type, none twice; refuse what contradicts them."""
    from phonotune.training.strategies import STRATEGIES

    values = content.get(key, [])
    with _line(file, lines, key):
        if not isinstance(values, list) or (key in content and not values):
            raise ConfigError(f"{key} must be a list with at least one value, found {values!r}.")
    other = {"foundations": ("foundation",), "frames": ("select", "budget")}.get(key, ("-",))
    if values and other in lines:
        with _line(file, lines, *other):
            raise ConfigError(f"{'.'.join(other)} and {key} contradict each other. Keep {key}.")
    known = {"default"}.union(*(row.options.RECIPES for row in STRATEGIES.values()))
    for index, value in enumerate(values):
        with _line(file, lines, key, index):
            low = 1 if key == "frames" else 0
            if type(value) is not _GRID[key] or (isinstance(value, int) and value < low):
                wanted = "a name" if _GRID[key] is str else f"a whole number from {low}"
                raise ConfigError(f"{value!r} in {key} is not {wanted}.")
            if value in values[:index]:
                raise ConfigError(f"{value!r} stands twice in {key}. Remove one of them.")
            if key == "recipes" and value not in known:
                raise unknown_name("recipe", str(value), known)
    return values


@contextmanager
def _line(file: Path, lines: Lines, *path: Any) -> Iterator[None]:
    """Put file and line before what is refused in the body; of a list or mapping the line of its item."""
    try:
        yield
    except InputError as error:
        number = next(lines[path[:n]] for n in range(len(path), -1, -1) if path[:n] in lines)
        raise type(error)(f"{file}, line {number}: {error}") from error


def _crystals(item: Any, file: Path) -> Iterator[tuple[str, Structure]]:
    """Yield the crystals that one entry of `structures` means, by name."""
    from pydantic import ValidationError

    from phonotune.data.prototypes import CrystalText
    from phonotune.data.structures import read_structure

    if isinstance(item, str):
        if not any(character in item for character in "*?["):
            yield str(file.parent / item), read_structure(file.parent / item)
            return
        base, pattern = (Path("/"), item[1:]) if item.startswith("/") else (file.parent, item)
        found = sorted(base.glob(pattern))
        if not found:
            raise ConfigError(f"No file matches {item!r} in {file.parent}. Check `structures`.")
        for path in found:
            yield str(path), read_structure(path)
        return
    if not isinstance(item, dict):
        raise ConfigError(
            f"A crystal is a file, or a mapping with `prototype`, `spacegroup` or `mp`; found {item!r}."
        )
    if "mp" in item:
        for key in item:
            if key not in ("mp", "name"):
                raise unknown_name("key beside mp", str(key), ("mp", "name"))
        yield str(item.get("name", item["mp"])), _materials_project(str(item["mp"]))
        return
    for key in item:
        if key not in CrystalText.model_fields:
            raise unknown_name("key of a crystal", str(key), [*CrystalText.model_fields, "mp"])
    try:
        text = CrystalText.model_validate(item)
    except ValidationError as error:
        raise StructureError(invalid_value(error)) from error
    yield text.label, text.structure()


def _materials_project(number: str) -> Structure:
    """Return a crystal of the Materials Project.

    Raises
    ------
    ConfigError
        No key is set, or the database does not give the crystal.
    """
    import os

    from pymatgen.core import SETTINGS, Structure
    from pymatgen.ext.matproj import MPRester

    key = os.environ.get("MP_API_KEY") or SETTINGS.get("PMG_MAPI_KEY")
    if not key:
        raise ConfigError(
            f"{number} is a crystal of the Materials Project, which answers only with a key. Set "
            "MP_API_KEY to yours, or write the crystal to a file and name that."
        )
    try:
        with MPRester(key) as database:
            crystal = database.get_structure_by_material_id(number)
    except Exception as error:  # the client raises whatever its connection does
        raise ConfigError(
            f"The Materials Project did not give {number!r} ({type(error).__name__}: {error}). Check the "
            "number and the key, or name a file."
        ) from error
    assert isinstance(crystal, Structure)
    return crystal


def check_names(maker: Any, file: Path, lines: Lines) -> None:
    """Refuse a name of the file that nobody knows: a strategy, a labeller, a foundation or a property.

    Raises
    ------
    InputError
        Naming the line, and the nearest name where there is one.
    """
    from phonotune.jobs.label import LabelMaker
    from phonotune.models.engines import find_foundation
    from phonotune.schemas.kinds import property_kinds
    from phonotune.training.config import build_config

    for index, strategy in enumerate(maker.strategies):
        with _line(file, lines, "strategies", index):
            build_config(strategy)
            if strategy in maker.strategies[:index]:
                raise ConfigError(f"Strategy {strategy!r} stands twice. Remove one of them.")
    for strategy, options in maker.options.items():
        with _line(file, lines, "options", strategy):
            if strategy not in maker.strategies:
                raise unknown_name("strategy in options", strategy, maker.strategies)
            build_config(strategy, options)
    for index, name in enumerate(maker.properties):
        with _line(file, lines, "properties", index):
            if name not in property_kinds():
                raise unknown_name("property", name, property_kinds())
    with _line(file, lines, "labeller"):
        LabelMaker(labeller=maker.labeller, vasp=maker.vasp).resolve()
    if ("foundation",) in lines:  # the default one may have to be fetched, which is for the run
        with _line(file, lines, "foundation"):
            find_foundation(maker.foundation, maker.head)
