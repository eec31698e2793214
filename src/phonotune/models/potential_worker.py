"""Answers structures with an ASE calculator, as a process of any Python that has numpy and ase.

This one file imports nothing of phonotune: :mod:`phonotune.models.process_engine` starts it with the Python of
another environment. Both talk in frames over the process's stdin and stdout; what the calculator
prints goes to stderr. The first frame says which calculator to make, each of the others holds structures, whose
answers come back one by one.
"""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import json
import os
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

import numpy as np

PREFIX = "{prefix}"
"""Begins the path of a file inside the environment itself: wherever that lies, the file is found."""
WEIGHTS = "{weights}"
"""Stands for the path of the weights in a text argument."""
_LENGTHS = struct.Struct("<II")


def pack_frame(head: Mapping[str, Any], **arrays: Any) -> bytes:
    """Return a frame: two lengths (bytes), a header in JSON, and arrays as they lie in memory."""
    whole = {name: np.asarray(array) for name, array in arrays.items()}
    described = [[name, array.dtype.str, array.shape] for name, array in whole.items()]
    first = json.dumps({**head, "arrays": described}).encode()
    rest = b"".join(array.tobytes() for array in whole.values())
    return _LENGTHS.pack(len(first), len(rest)) + first + rest


def read_frame(read: Callable[[int], bytes]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return header and arrays of the next frame.

    Parameters
    ----------
    read
        Returns as many bytes as it is asked for, fewer only at the end.

    Raises
    ------
    EOFError
        The other side closed the pipe.
    """

    def exactly(length: int) -> bytes:
        content = read(length)
        if len(content) < length:
            raise EOFError
        return content

    first, rest = _LENGTHS.unpack(exactly(_LENGTHS.size))
    head = json.loads(exactly(first))
    content, start, arrays = exactly(rest), 0, {}
    for name, kind, shape in head.pop("arrays"):
        count = int(np.prod(shape))
        arrays[name] = np.frombuffer(content, kind, count, start).reshape(shape).copy()
        start += arrays[name].nbytes
    return head, arrays


def evaluate(calculator: Any, numbers: Any, cell: Any, positions: Any) -> dict[str, Any]:
    """Return energy (eV), forces (eV/Å) and, if the calculator has it, stress (eV/Å^3) of a crystal.

    Parameters
    ----------
    calculator
        An ASE calculator.
    numbers, cell, positions
        shape (n,), (3, 3) and (n, 3); Å.
    """
    from ase import Atoms

    atoms = Atoms(numbers=numbers, cell=cell, positions=positions, pbc=True)
    atoms.calc = calculator
    answer = {
        "energy": np.array(atoms.get_potential_energy(), dtype=float),
        "forces": np.array(atoms.get_forces(), dtype=float),
    }
    with contextlib.suppress(NotImplementedError):
        answer["stress"] = np.array(atoms.get_stress(voigt=False), dtype=float)
    return answer


def versions_of(called: Any, module: str) -> dict[str, str]:
    """Return the version of the distribution that holds a module, else the sha256 of the module's file."""
    top = module.partition(".")[0]
    with contextlib.suppress(metadata.PackageNotFoundError):
        found = metadata.distribution(top)  # a look at all takes a second
        return {found.metadata["Name"]: found.version}
    if owners := metadata.packages_distributions().get(top, []):
        return {owner: metadata.version(owner) for owner in sorted(set(owners))}
    file = Path(inspect.getfile(inspect.unwrap(called)))
    return {module: sha256_of(file)}


def elements_of(calculator: Any) -> list[str] | None:
    """Return the chemical symbols that a calculator says it knows, else None.

    They stand in its ``elements`` (symbols or atomic numbers) or are the keys of its ``type_map``.
    """
    from ase.data import chemical_symbols

    for name in ("elements", "type_map"):
        given = getattr(calculator, name, None)
        if isinstance(given, Iterable) and not isinstance(given, str):
            with contextlib.suppress(TypeError, ValueError, IndexError):
                symbols = [e if isinstance(e, str) else chemical_symbols[int(e)] for e in given]
                if symbols and set(symbols) <= set(chemical_symbols[1:]):
                    return symbols
    return None


def sha256_of(path: Path) -> str:
    """Return the hexadecimal sha256 of a file."""
    content = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            content.update(block)
    return content.hexdigest()


def make(order: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Make the calculator that an order names; return it and what it is.

    Parameters
    ----------
    order
        ``calculator`` (``module:callable``), ``arguments`` and ``weights`` (a path or None).
    """
    if sys.version_info < (3, 10):  # noqa: UP036 - of another environment
        raise RuntimeError(f"Python {sys.version.split()[0]} is too old, 3.10 is needed")
    module, _, name = order["calculator"].partition(":")
    called = getattr(import_module(module), name)
    weights, said, arguments = order["weights"], {}, dict(order["arguments"])
    if weights is not None:
        path = Path(weights.replace(PREFIX, sys.prefix))
        said = {"sha256": sha256_of(path), "path": str(path)}
        if path.is_relative_to(sys.prefix):
            said["path"] = f"{PREFIX}/{path.relative_to(sys.prefix)}"
        arguments = {
            key: value.replace(WEIGHTS, str(path)) if isinstance(value, str) else value
            for key, value in arguments.items()
        }
    calculator = called(**arguments)
    if not hasattr(calculator, "get_property"):
        raise TypeError(f"it gave a {type(calculator).__name__}, not an ASE calculator")
    about = {
        "python": sys.version.split()[0],
        "versions": versions_of(called, module),
        "weights": said,
        "elements": elements_of(calculator),
    }
    return calculator, about


def _end_with(parent: int) -> None:
    """End this process when the one that started it has gone, even in the middle of an evaluation."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)


def main() -> None:
    """Read an order, then structures, until stdin is closed."""
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what is printed must not come between the frames
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    own = str(Path(__file__).parent)
    sys.path = [entry for entry in sys.path if entry != own]  # its modules are no others' business

    def say(head: Mapping[str, Any], **arrays: Any) -> None:
        answers.write(pack_frame(head, **arrays))
        answers.flush()

    try:
        calculator, about = make(read_frame(requests.read)[0])
    except Exception as error:  # noqa: BLE001 - whatever another's code raises
        say({"failed": f"{type(error).__name__}: {error}"})
        return
    say(about)
    while True:
        try:
            head, arrays = read_frame(requests.read)
        except EOFError:
            return
        start = 0
        for count, cell in zip(head["counts"], arrays["cells"], strict=True):
            part = slice(start, start + count)
            start += count
            try:
                answer = evaluate(
                    calculator, arrays["numbers"][part], cell, arrays["positions"][part]
                )
            except Exception as error:  # noqa: BLE001 - whatever another's code raises
                say({"failed": f"{type(error).__name__}: {error}"})
                break
            if not all(np.isfinite(array).all() for array in answer.values()):
                say({"not_finite": True})
                break
            say({}, **answer)


if __name__ == "__main__":
    main()
