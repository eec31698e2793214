"""``phonotune elastic``: elastic tensor of a crystal by a model."""

from __future__ import annotations

from phonotune.cli.console import session
from phonotune.cli.options import (
    AsJson,
    Debug,
    Head,
    Masses,
    MassesOption,
    Model,
    OutputFolder,
    Relax,
    StructureFile,
    check_output_folder,
)
from phonotune.cli.tables import render


def elastic(
    structure: StructureFile,
    model: Model,
    output: OutputFolder,
    head: Head = None,
    relax: Relax = False,
    masses: MassesOption = Masses.stated,
    json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Compute the elastic tensor of a crystal (GPa), with relaxed ions, and its averages.

    Strains are reduced by symmetry; Voigt order xx yy zz yz xz xy; bulk and shear modulus by Voigt,
    Reuss and Hill. Writes elastic.json. An interrupted call continues where it stopped.

    Example: phonotune elastic POSCAR --model mini -o mgo-elastic
    """
    with session(as_json=json, debug=debug) as out:
        check_output_folder(output)
        from phonotune.cli.crystal import read_crystal, relaxation
        from phonotune.data.document_files import summary_of
        from phonotune.jobs.elastic import ElasticMaker
        from phonotune.jobs.property import resumed_evaluator
        from phonotune.report.files import write_elastic
        from phonotune.report.tables import elastic_table, tensor_table

        crystal, record = read_crystal(structure, model, masses, out, head)
        maker = ElasticMaker(relax=relaxation(relax))
        with (
            out.progress("elastic constants") as progress,
            resumed_evaluator(record) as evaluator,
        ):
            document = maker.compute(crystal, evaluator, progress)
            files = write_elastic(document, output)
        out.finish(
            {"output": str(output), "files": files, "elastic": summary_of(document)},
            render(tensor_table(document)),
            render(elastic_table(document)),
            f"{output}: {', '.join(files)}",
        )
