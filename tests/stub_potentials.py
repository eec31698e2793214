"""A pair potential, and ways in which a calculator can fail; copied into an environment without phonotune."""

import importlib.util
import itertools
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
from ase.calculators.calculator import Calculator

if __name__ == "stub_potentials":
    assert importlib.util.find_spec("phonotune") is None

CUTOFF = 6.0


class Pair(Calculator):
    """Morse potential for Al and Cu, smooth at its cutoff, that writes down each of its calls.

    Parameters
    ----------
    log
        File that gets a letter per call.
    bad, at
        Name of a method below, called before each call from number ``at`` on.
    weights
        File with a number that multiplies every answer.
    factor
        Multiplies every answer, too.
    """

    implemented_properties = ("energy", "forces", "stress")

    def __init__(self, log=None, bad="", at=0, weights=None, factor=1.0):
        super().__init__()
        self.log, self.bad, self.at = log, bad, at
        self.scale = factor * (float(Path(weights).read_text()) if weights else 1.0)

    def calculate(self, atoms=None, properties=("energy",), changes=("positions",)):
        super().calculate(atoms, properties, changes)
        calls = 0
        if self.log:
            with Path(self.log).open("a+") as file:
                calls = file.tell()
                file.write("x")
        if self.bad and calls >= self.at:
            getattr(self, self.bad)(calls)
        if not set(atoms.symbols) <= {"Al", "Cu"}:
            raise NotImplementedError(f"no parameters for {atoms.symbols}")
        cell = atoms.cell.array
        repeats = np.ceil(CUTOFF * np.linalg.norm(np.linalg.inv(cell), axis=0)).astype(int)
        images = np.array(list(itertools.product(*(range(-n, n + 1) for n in repeats)))) @ cell
        positions = atoms.get_scaled_positions() @ cell
        vectors = positions[None, :, None] + images[None, None] - positions[:, None, None]
        r = np.linalg.norm(vectors, axis=3)
        near = (r < CUTOFF) & (r > 1e-9)
        vectors, r, first = vectors[near], r[near], np.nonzero(near)[0]
        x, left = np.exp(-1.2 * (r - 3.2)), 1 - (r / CUTOFF) ** 2
        pair, slope = 0.25 * (x**2 - 2 * x), 0.25 * -2.4 * (x**2 - x)
        slope = slope * left**3 - pair * 6 * r / CUTOFF**2 * left**2
        pull = (slope / r)[:, None] * vectors
        forces = np.zeros((len(atoms), 3))
        np.add.at(forces, first, pull)
        stress = 0.5 * vectors.T @ pull / atoms.get_volume()
        self.results = {
            "energy": self.scale * 0.5 * float(pair @ left**3),
            "forces": self.scale * forces,
            "stress": self.scale * stress.flat[[0, 4, 8, 5, 2, 1]],
        }

    def killed(self, calls):
        if calls == self.at:
            os.kill(os.getpid(), signal.SIGKILL)

    def killed_always(self, calls):
        print("out of memory", file=sys.stderr, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

    def hang(self, calls):
        print("x" * 10_000, "step 6", end="\riteration 7 of many", flush=True)
        time.sleep(1000)

    def chatter(self, calls):
        print("step", calls, "x" * 70_000)
        os.write(1, b"\x00\x01\x02 written past Python\n")
        sys.stdin.read()


class Known(Pair):
    elements = ("Al", 29)


class Nan(Calculator):
    implemented_properties = ("energy", "forces")

    def calculate(self, atoms=None, properties=None, changes=None):
        self.results = {"energy": np.nan, "forces": np.zeros((len(atoms), 3))}


class Single(Pair):
    """In single precision."""

    def calculate(self, *arguments):
        super().calculate(*arguments)
        self.results = {k: np.asarray(v, dtype=np.float32) for k, v in self.results.items()}


class Rough(Pair):
    """Forces in steps of 0.02 eV/Å, which are no gradient, and no stress."""

    implemented_properties = ("energy", "forces")

    def calculate(self, *arguments):
        super().calculate(*arguments)
        del self.results["stress"]
        self.results["forces"] = np.round(self.results["forces"] / 0.02) * 0.02


class Restless(Pair):
    """Never the same answer twice."""

    def calculate(self, *arguments):
        super().calculate(*arguments)
        self.results["forces"] += 1e-2 * np.random.default_rng().random()


def nothing():
    return {}


def broken():
    print("looking for weights", file=sys.stderr)
    raise ValueError("no weights")


def leave():
    print("licence server not found", file=sys.stderr)
    sys.exit(3)


def die():
    print("Fatal: no libcudart", file=sys.stderr, flush=True)
    os.abort()
