"""Kill workers, launchers and the database at random while four crystals run; compare with a quiet run.

    python benchmarks/chaos.py fireworks|jobflow-remote --out FOLDER [--kills 20] [--seed 0] [--limit 3000]

Slurm and a MongoDB wire server are started here as in the tests (root, Debian's slurm-wlm and munge; mongod or
SecantusDB, which writes every change to disk). A person's part is done every few seconds, as
docs/cluster_restart.md says it: start what is dead again, make failed and lost jobs ready. After the last kill
everything must come to its end; then results are compared with those of ``run_flow``. FOLDER keeps
everything: after ``--limit`` seconds (exit code 3) or a crash of this program, the same command goes on.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import chaos_check
import chaos_site
from pymongo.errors import PyMongoError

from phonotune.errors import PhonotuneError
from phonotune.flows.queues import latest, open_queue
from phonotune.flows.routing import read_profile
from phonotune.flows.status import retry_failed
from phonotune.flows.submit import submit
from phonotune.schemas.base import structure_hash

PAUSE = (3.0, 15.0)
"""Seconds between two kills, drawn evenly."""
EVERY = 8.0
"""Seconds between two rounds of a person's part."""
LOST_AFTER = 30.0
"""Seconds without a ping of a FireWorks worker after which its job counts as lost."""
NOT_DONE = 3


class Chaos:
    """One run: what is still to be killed, and who starts it again."""

    def __init__(self, site: chaos_site.ClusterSite, kills: int, seed: int) -> None:
        self.site, self.manager = site, site.manager
        self.profile = read_profile(site.folder / "profile.yaml")
        self.journal = site.folder / "kills.jsonl"
        self.targets = plan(kills, seed)
        done = len(self.journal.read_text().splitlines()) if self.journal.is_file() else 0
        self.left = self.targets[done:]
        self.random = random.Random(f"{seed}/{done}")
        self.next_kill = time.monotonic() + self.random.uniform(*PAUSE)
        self.next_care = 0.0

    def submit(self) -> None:
        """Submit every crystal; one that is there already adds nothing."""
        for name, structure in chaos_site.crystals().items():
            about = {"formula": name, "material_id": structure_hash(structure)}
            found = submit(
                chaos_site.MAKER.make(structure), self.manager, self.profile, about=about
            )
            say(f"{name}: {found.added} jobs added")

    def run(self, limit: float) -> bool:
        """Kill and mend until everything is done; False at the time limit."""
        end = time.monotonic() + limit
        while time.monotonic() < end:
            if self.left and time.monotonic() > self.next_kill:
                self._kill()
            if time.monotonic() > self.next_care:
                self._care()
                self.next_care = time.monotonic() + EVERY
                if self._is_over():
                    if self.left:
                        say(f"all was done before {len(self.left)} of the kills")
                    return True
            time.sleep(0.5)
        return False

    def _kill(self) -> None:
        """Kill the next target; one that does not live now is waited for, unless all is done."""
        target = self.left[0]
        victim = self.site.kill(target, self.random)
        if victim is None:
            self.next_kill = time.monotonic() + 1.0
            return
        say(f"kill {len(self.targets) - len(self.left) + 1}: {target}: {victim}")
        with self.journal.open("a") as stream:
            stream.write(json.dumps({"time": time.time(), "target": target, "what": victim}) + "\n")
        self.left = self.left[1:]
        self.next_kill = time.monotonic() + self.random.uniform(*PAUSE)

    def _care(self) -> None:
        """Do what a person, or cron, does."""
        self.site.revive()
        lost = LOST_AFTER if self.manager == "fireworks" else None
        with forgiving():
            change = retry_failed(self.manager, self.profile, lost_after=lost)
            if change.done or change.refused:
                say(f"made ready again: {change.done}, refused: {change.refused}")
        if self.manager == "fireworks":
            with forgiving(), open_queue(self.manager, self.profile) as queue:
                queue.launchpad.detect_lostruns(expiration_secs=LOST_AFTER, refresh=True)

    def _is_over(self) -> bool:
        with forgiving(), open_queue(self.manager, self.profile) as queue:
            states = Counter(job.state for job in latest(queue.find()).values())
            say(f"  {dict(states)}")
            return set(states) == {"done"}
        return False


@contextlib.contextmanager
def forgiving() -> Iterator[None]:
    """Let a database that does not answer just now be asked again later."""
    try:
        yield
    except (PhonotuneError, PyMongoError) as error:
        say(f"  {type(error).__name__}: {str(error)[:150]}")


def plan(kills: int, seed: int) -> list[str]:
    """Return whom to kill, in order: three fifths workers, one fifth launchers, one fifth databases."""
    fifth = kills // 5
    targets = ["worker"] * (kills - 2 * fifth) + ["launcher"] * fifth + ["database"] * fifth
    random.Random(seed).shuffle(targets)
    return targets


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("manager", choices=["fireworks", "jobflow-remote"])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=float, default=3000.0)
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(NOT_DONE))
    started = time.monotonic()
    folder = given.out.resolve()
    quiet = chaos_check.quiet_run(folder / "quiet")
    say(f"quiet run: {time.monotonic() - started:.0f} s")
    with chaos_site.ClusterSite(given.manager, folder / given.manager) as site:
        chaos = Chaos(site, given.kills, given.seed)
        chaos.submit()
        started = time.monotonic()
        if not chaos.run(given.limit):
            say("time limit: the same command goes on from here")
            return NOT_DONE
        say(f"everything is done after {time.monotonic() - started:.0f} s of this session")
        faults = chaos_check.compare(given.manager, chaos.profile, quiet, say)
    for fault in faults:
        say(f"FAULT: {fault}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
