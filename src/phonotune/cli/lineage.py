"""``phonotune lineage``: from a result back to frames, settings, models and versions."""

from __future__ import annotations

import json as json_text
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from phonotune.cli.console import session
from phonotune.cli.options import AsJson, Debug, Store
from phonotune.cli.results import SHOWN_DIGITS, open_results
from phonotune.cli.show import Identifier
from phonotune.cli.tables import new_table, result_row

if TYPE_CHECKING:
    from rich.console import Group

    from phonotune.store import Entry
    from phonotune.store.lineage import Lineage


def lineage(
    identifier: Identifier, store: Store = None, json: AsJson = False, debug: Debug = False
) -> None:
    """Show what stands behind a result: labels, datasets and their frames, models, settings, versions.

    Example: phonotune lineage 1f0c9d57 --json > lineage.json
    """
    with session(as_json=json, debug=debug) as out, open_results(store) as results:
        found = results.lineage(identifier)
        for sentence in found.missing:
            out.note(f"Note: {sentence}")
        out.finish(lineage_payload(found), *lineage_tables(found))


def lineage_payload(found: Lineage) -> dict[str, Any]:
    """Return a lineage as JSON-able values, each result with its settings."""
    return {
        "result": found.result.uuid,
        "behind": [_payload(entry) for entry in found.entries],
        "frames": [asdict(frame) for frame in found.frames],
        "foundations": [foundation.model_dump() for foundation in found.foundations],
        "versions": {name: list(versions) for name, versions in found.versions.items()},
        "missing": list(found.missing),
    }


def _payload(entry: Entry) -> dict[str, Any]:
    from phonotune.data.document_files import summary_of

    content = summary_of(entry.document)
    model, source = content.get("model") or {}, content.get("source") or {}
    ids = {
        "material_id": content.get("material_id"),
        "model_id": model.get("model_id") or source.get("model_id"),
        "dataset_hash": content.get("dataset_hash") or model.get("dataset_hash"),
        "protocol": content.get("protocol"),
    }
    return {
        "uuid": entry.uuid,
        "kind": entry.document.kind,
        "name": entry.name,
        "stage": entry.stage,
        "completed_at": entry.completed_at,
        "settings": content.get("settings") or model.get("config") or {},
        "ids": {name: str(value) for name, value in ids.items() if value},
    }


def lineage_tables(found: Lineage) -> list[Group]:
    """Return what was run, the frames by dataset and group, settings and versions."""
    rows = []
    for entry in found.entries:
        _, kind, by, result, _ = result_row(entry.document)
        rows.append((entry.uuid[:SHOWN_DIGITS], entry.name, kind, by, result))
    settings = [
        (f"{item['name']} {item['uuid'][:SHOWN_DIGITS]}", json_text.dumps(item["settings"]))
        for item in map(_payload, found.entries)
        if item["settings"]
    ]
    groups = Counter((f.dataset_hash[:12], f.split, f.group) for f in found.frames)
    frames = [(*key, str(count)) for key, count in groups.items()]
    facts = [("foundation", f"{f.label} {f.sha256}") for f in found.foundations]
    facts += [(name, ", ".join(versions)) for name, versions in found.versions.items()]
    tables = [
        new_table(
            "From the labels to the result",
            ("id", "job", "kind", "by", "result"),
            rows,
            numbers=False,
        ),
        new_table("Frames", ("dataset", "split", "group", "frames"), frames, numbers=False),
        new_table("Settings", ("", ""), settings, numbers=False),
        new_table("Made with", ("", ""), facts, numbers=False),
    ]
    return [
        table for table, there in zip(tables, (rows, frames, settings, facts), strict=True) if there
    ]
