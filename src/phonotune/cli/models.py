"""``phonotune models``: foundation models by name, verified by sha256; potentials of other environments."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from json import loads
from pathlib import Path
from typing import Annotated, Any

import typer

from phonotune.cli.console import session
from phonotune.cli.options import AsJson, Debug, Head, flowing
from phonotune.cli.tables import new_table
from phonotune.errors import ConfigError

app = typer.Typer(
    no_args_is_help=True,
    help="Foundation models and potentials: list, fetch, verify, trust, add, remove.",
)


def list_models(json: AsJson = False, debug: Debug = False) -> None:
    """List the foundation models and potentials that are known by name.

    On which level of theory each was made, under which licence, for how many elements, with which heads (of a
    file, once it was loaded here), and where it is. What its authors do not state is `not stated`.
    """
    with session(as_json=json, debug=debug) as out:
        from phonotune.models.catalogue import catalogue

        entries = catalogue()
        columns = (
            "name",
            "level of theory",
            "licence",
            "elements",
            "heads",
            "engine",
            "where",
            "potential",
        )
        rows = [
            (
                e.name,
                e.row.level or ("by head" if any(e.row.heads.values()) else "not stated"),
                e.row.licence or "not stated",
                "not stated" if e.row.elements is None else str(e.row.elements),
                ", ".join(
                    f"{head} ({level})" if level else head for head, level in e.row.heads.items()
                )
                or "-",
                e.engine,
                e.where,
                e.note,
            )
            for e in entries
        ]
        models = [
            {"name": e.name, "engine": e.engine, "where": e.where}
            | {"path": str(e.path or ""), "note": e.note}
            | asdict(e.row)
            for e in entries
        ]
        out.finish({"models": models}, new_table(None, columns, rows, numbers=False))


def fetch(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help="A name of `phonotune models list`.", show_default=False
        ),
    ],
    accept: Annotated[
        bool,
        typer.Option(
            "--accept-licence",
            help="Accept the licence of the weights, where it is an academic one; it is remembered for all "
            "models under it.",
        ),
    ] = False,
    json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Download a foundation model into mace-torch's cache, and check that it loads.

    For machines whose compute nodes have no network: run it once on the login node. Of weights under an
    academic licence it asks once; jobs, which cannot ask, refuse them until then.
    """
    with session(as_json=json, debug=debug) as out:
        from phonotune.models.foundation import ALIASES, find_mace
        from phonotune.models.foundation_weights import read_facts
        from phonotune.models.licences import accept_licence, licence_to_accept
        from phonotune.schemas.foundations import ACADEMIC

        licence = licence_to_accept(ALIASES.get(name, name))
        if licence is not None:
            asked = (
                f"The weights of {name} are under the {licence} ({ACADEMIC[licence]}). Accept it?"
            )
            if accept or (not json and sys.stdin.isatty() and typer.confirm(asked, err=True)):
                accept_licence(licence)
        record = find_mace(name)
        read_facts(record)
        out.finish(
            record.model_dump(), f"{record.name}: sha256 {record.sha256} is in the cache and loads"
        )


def verify(
    model: Annotated[
        str,
        typer.Argument(
            metavar="NAME|FILE|DIR", help="Foundation model, or model folder.", show_default=False
        ),
    ],
    head: Head = None,
    json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Check that a model has the sha256 on record, and that it loads."""
    with session(as_json=json, debug=debug) as out:
        from phonotune.models.evaluators import load_evaluator
        from phonotune.models.process_engine import running
        from phonotune.models.records import find_model

        record = find_model(model, head)
        load_evaluator(record)
        if record.foundation.engine == "process":
            running(record.foundation)
        content = record.model_dump(exclude={"adapters"})
        out.finish(
            content,
            f"{record.label}: foundation sha256 {record.foundation.sha256}, model_id "
            f"{record.model_id}",
        )


def trust(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A MACE model file.", show_default=False)
    ],
    json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Allow one model file to be loaded, by its sha256.

    MACE's files are pickles: loading one runs the code in it. Trust only what you made yourself or
    what comes from people you know.
    """
    with session(as_json=json, debug=debug) as out:
        from phonotune.models.foundation import trust_file

        record = trust_file(file)
        out.finish(record.model_dump(), f"{record.name}: sha256 {record.sha256} is trusted now")


def add(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="The name that it gets.", show_default=False),
    ],
    calculator: Annotated[
        str,
        typer.Option(
            metavar="MODULE:CALLABLE",
            help="Class of an ASE calculator, or a function that returns one.",
            show_default=False,
        ),
    ],
    python: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="Python of another environment, which has numpy and ase. Default: that of phonotune.",
            show_default=False,
        ),
    ] = None,
    arguments: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Argument of the callable: a text, a number, true, false, null or JSON; repeatable. "
            "{weights} in a text is the path of --weights.",
            show_default=False,
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="File whose sha256 is part of the identity.", show_default=False
        ),
    ] = None,
    elements: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,...",
            help="Elements that it knows. Default: what the calculator says, else each is tried.",
            show_default=False,
        ),
    ] = None,
    level_of_theory: Annotated[
        str,
        typer.Option(
            metavar="TEXT",
            help="What it was fitted to, e.g. 'PBE'; needed to use it as a labeller.",
            show_default=False,
        ),
    ] = "",
    json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Give an ASE calculator a name: any potential, in this environment or in another one.

    It is made there, and tested on one small crystal: whether its forces are smooth and the gradient of
    its energy, in which precision it computes, whether the same structure gives the same answer. NAME then
    is a --model, a --foundation that no strategy can tune, and a --labeller. It is identified by calculator,
    arguments, version of its package and sha256 of its weights.

    Example: phonotune models add 7net-0 --python .venv-7net/bin/python --calculator
    sevenn.calculator:SevenNetCalculator --set model=7net-0 --level-of-theory "PBE, PBE+U as MPtrj"
    """
    with session(as_json=json, debug=debug) as out:
        from phonotune.models.potential_checks import check_potential, known_elements, verdict
        from phonotune.models.potentials import add_potential, check_name, record_of
        from phonotune.models.process_engine import ProcessEvaluator, start
        from phonotune.models.records import model_record
        from phonotune.schemas.potential import Potential, Weights

        check_name(name)
        module, colon, attribute = calculator.partition(":")
        if not (module and colon and attribute) or ":" in attribute:
            raise ConfigError(
                f"--calculator {calculator!r} is not MODULE:CALLABLE, for example "
                "sevenn.calculator:SevenNetCalculator."
            )
        if weights is not None and not weights.is_file():
            raise ConfigError(f"There is no file {weights} for --weights. Check the path.")
        asked = Potential(
            calculator=calculator,
            arguments=_arguments(arguments or [], weights),
            python=None if python is None else str(python.expanduser().absolute()),
            weights=weights and Weights(path=str(weights.expanduser().absolute()), sha256=""),
            versions={},
            elements=_symbols(elements),
            level_of_theory=level_of_theory,
        )
        with out.progress(f"Testing {name}") as progress:
            progress.advance(0, "it starts")
            record = start(name, asked)
            evaluator = ProcessEvaluator(model_record(record))
            known = evaluator.elements
            if known is None:
                progress.advance(0, "elements, one by one")
                known = known_elements(evaluator)
            tests = check_potential(evaluator, known, lambda text: progress.advance(0, text))
        assert record.potential is not None
        potential = record.potential.model_copy(update={"elements": known, "tests": tests})
        add_potential(name, potential)
        said = verdict(tests)
        for sentence in said:
            out.note(f"Note: {sentence}")
        stiffness = ", ".join(
            f"{k:.4f} at {d:g} Å"
            for k, d in zip(tests.stiffnesses, tests.displacements, strict=True)
        )
        rows = [
            ("potential", str(potential)),
            ("sha256", record_of(name, potential).sha256),
            ("elements", f"{len(known)}: {' '.join(known)}"),
            ("tested on", tests.crystal),
            ("stiffness (eV/Å²)", f"{stiffness}: {'smooth' if tests.smooth else 'not smooth'}"),
            ("precision", f"{tests.precision}, forces scatter by {tests.scatter:.1e} eV/Å"),
            ("forces", f"{tests.work_error:.1e} eV/Å from the gradient of the energy"),
            (
                "repeatable",
                f"to {tests.repeat_error:.1e} eV/Å" if tests.repeat_error else "to the bit",
            ),
            ("stress", "yes" if tests.stress else "no"),
        ]
        out.finish(
            {
                **record_of(name, potential).model_dump(mode="json"),
                "description": str(potential),
                "notes": said,
            },
            new_table(name, ("", ""), rows, numbers=False),
        )


def remove(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="A potential that was added.", show_default=False),
    ],
    json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Forget a potential that was added; results that it gave stay."""
    with session(as_json=json, debug=debug) as out:
        from phonotune.models.potentials import remove_potential

        remove_potential(name)
        out.finish({"removed": name}, f"{name} is forgotten")


def _arguments(texts: Sequence[str], weights: Path | None) -> dict[str, Any]:
    """Return the arguments of a calculator from ``KEY=VALUE`` texts."""
    found: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key.strip().isidentifier():
            raise ConfigError(f"--set {text!r} is not KEY=VALUE, for example model=7net-0.")
        try:
            found[key.strip()] = loads(value, parse_constant=_refused)
        except ValueError:
            found[key.strip()] = value
        if "{weights}" in value and weights is None:
            raise ConfigError(f"--set {text!r} names {{weights}}; give the file by --weights FILE.")
    return found


def _refused(constant: str) -> None:
    raise ValueError(constant)


def _symbols(text: str | None) -> tuple[str, ...] | None:
    if text is None:
        return None
    from ase.data import chemical_symbols

    symbols = tuple(part.strip() for part in text.split(","))
    unknown = [symbol for symbol in symbols if symbol not in chemical_symbols[1:]]
    if unknown:
        raise ConfigError(
            f"--elements {text!r} holds {unknown[0]!r}, which is not a chemical symbol. Write them like Na,Cl."
        )
    return symbols


for _name, _command in (
    ("list", list_models),
    ("fetch", fetch),
    ("verify", verify),
    ("trust", trust),
    ("add", add),
    ("remove", remove),
):
    app.command(_name, help=flowing(_command))(_command)
