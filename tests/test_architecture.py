"""docs/architecture.md shows the imports as they are."""

from pathlib import Path

import grimp
import pytest

PAGE = Path(__file__).parents[1] / "docs" / "architecture.md"
BEGIN, END = "<!-- imports: begin -->", "<!-- imports: end -->"
ORDER = (
    *("cli", "flows", "jobs", "store", "report", "training", "models", "data"),
    *("sampling", "physics", "schemas", "ports", "settings", "errors"),
    *("units", "progress", "part", "files", "chunks", "dotted"),
)


def imports_table() -> str:
    """Return the table of what each room imports, as the code has it."""
    graph = grimp.build_graph("phonotune")
    rows = ["| room | imports |", "|---|---|"]
    for room in ORDER:
        package = f"phonotune.{room}"
        members = {package, *graph.find_descendants(package)}
        found = {
            imported.split(".")[1]
            for member in members
            for imported in graph.find_modules_directly_imported_by(member)
            if imported.count(".") and imported not in members
        }
        listed = ", ".join(f"`{name}`" for name in ORDER if name in found)
        rows.append(f"| `{room}` | {listed or '-'} |")
    return "\n".join(rows)


def test_the_page_shows_the_imports_as_they_are():
    text = PAGE.read_text(encoding="utf-8")
    shown = text.split(BEGIN)[1].split(END)[0].strip()
    assert shown == imports_table(), f"Replace the table in {PAGE.name} by:\n{imports_table()}"


@pytest.mark.parametrize("package", ["mace", "e3nn"])
def test_one_module_imports_what_models_are_built_of(package):
    graph = grimp.build_graph("phonotune", include_external_packages=True)
    importers = graph.find_modules_that_directly_import(package)
    assert importers == {"phonotune.models.mace_parts"}
