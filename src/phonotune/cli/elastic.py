"""``phonotune elastic``: elastic tensor of a crystal by a model."""

from __future__ import annotations

from phonotune.cli.console import session
from phonotune.cli.options import (
    AsJson,
    Debug,
    Model,
    OutputFolder,
    StructureFile,
    check_output_folder,
)
from phonotune.cli.tables import elastic_table


def elastic(
    structure: StructureFile,
    model: Model,
    output: OutputFolder,
    json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Compute the elastic tensor of a crystal (GPa), with relaxed ions, and its averages.

    Strains are reduced by symmetry; Voigt order xx yy zz yz xz xy; bulk and shear modulus by Voigt,
    Reuss and Hill. Writes elastic.json.

    Example: phonotune elastic POSCAR --model mini -o mgo-elastic
    """
    with session(as_json=json, debug=debug) as out:
        check_output_folder(output)
        from phonotune.cli.evaluating import load_task
        from phonotune.data.document_files import summary_of, write_property
        from phonotune.jobs.analysis import evaluate_and_analyse
        from phonotune.physics.elastic import ElasticSettings, analyse_stresses, plan_strains

        crystal, evaluator, source = load_task(structure, model)
        plan = plan_strains(crystal, ElasticSettings())
        with out.progress(f"{len(plan.structures)} strained cells"):
            document = evaluate_and_analyse(
                evaluator, plan.structures, lambda answers: analyse_stresses(plan, answers, source)
            )
        output.mkdir(parents=True, exist_ok=True)
        name = write_property(document, output)
        out.finish(
            {"output": str(output), "files": [name], "elastic": summary_of(document)},
            elastic_table(document),
            f"{output}: {name}",
        )
