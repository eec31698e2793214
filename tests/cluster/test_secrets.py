"""Planted credentials are in nothing that a whole run prints, writes or stores."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import bson
import pytest
import yaml
from pymatgen.core import Structure
from pymongo import MongoClient
from warm import WarmProcess, phonotune

from phonotune.flows.profile_files import Site, write_profile

pytestmark = [pytest.mark.mongo, pytest.mark.slow]

USER, PASSWORD, WRONG = "planted-user", "pl4nted/pa:ss@word", "wr0ng-pl4nted-password"
ENVIRONMENT = {
    "AWS_SECRET_ACCESS_KEY": "planted-aws-secret",
    "MP_API_KEY": "planted-mp-key",
    "MONGODB_PASSWORD": "planted-variable",
}
SECRETS = [PASSWORD, quote_plus(PASSWORD), WRONG, *ENVIRONMENT.values()]
DATABASE = "guarded"
CONFIG = {
    "foundation": "mini",
    "labeller": "emt",
    "strategies": ["lora"],
    "options": {"lora": {"max_epochs": 1}},
    "rattle": {"n_cells": 2, "volumes": [0.0, 2.5], "min_length": 4.0, "small": []},
    "relaxation": {"max_steps": 2},
    "select": {"budget": 2, "n_valid": 1},
    "phonon": {"supercell_matrix": [[1, 0, 0], [0, 1, 0], [0, 0, 1]], "mesh_density": 10.0},
    "elastic": {"strains": [0.005]},
    "well": {"n_amplitudes": 5},
}


@dataclass
class Place:
    """A folder with a crystal, a configuration and a store file that holds the password."""

    folder: Path
    host: str
    port: int

    def store(self, name: str, uri: str) -> Path:
        path = self.folder / "given" / name
        part = {"uri": uri, "database": DATABASE}
        stores = {
            "docs_store": {"type": "MongoStore", "collection_name": "outputs", **part},
            "additional_stores": {
                "data": {"type": "GridFSStore", "collection_name": "blobs", **part}
            },
        }
        path.write_text(yaml.safe_dump(stores))
        return path

    def uri(self, password: str) -> str:
        login = f"{USER}:{quote_plus(password)}"
        return f"mongodb://{login}@{self.host}:{self.port}/?authSource={DATABASE}"

    def phonotune(self, *arguments: object, code: int = 0, **variables: str) -> str:
        """Run a command in ``work``; return all that it printed, tracebacks included."""
        folders = {
            f"PHONOTUNE_{name}": str(self.folder / "work" / name.lower())
            for name in ("DATA_DIR", "CACHE_DIR", "CHECKPOINT_DIR")
        }
        done = WarmProcess(
            phonotune,
            *arguments,
            folder=self.folder / "said",
            variables={"PYTHONWARNINGS": "default", **folders, **ENVIRONMENT, **variables},
            cwd=self.folder / "work",
        )
        ended = done.wait()
        printed = done.stdout + done.stderr
        assert ended == code, printed
        return printed


@pytest.fixture(scope="module")
def place(mongo_server: Any, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A place whose database server demands a password."""
    folder = tmp_path_factory.mktemp("secrets")
    for name in ("given", "work"):
        (folder / name).mkdir()
    server = mongo_server()
    with MongoClient(server.uri) as client:
        roles = [{"role": "readWrite", "db": DATABASE}]
        client[DATABASE].command("createUser", USER, pwd=PASSWORD, roles=roles)
    server.stop()
    server.auth = True
    server.start()
    cell = Structure.from_spacegroup(
        "Im-3m", [[3.25, 0, 0], [0, 3.25, 0], [0, 0, 3.25]], ["Al"], [[0, 0, 0]]
    )
    cell.to(str(folder / "work" / "al.cif"))
    (folder / "work" / "config.yaml").write_text(yaml.safe_dump(CONFIG))
    return Place(folder, "127.0.0.1", server.port)


def stored(place: Place) -> Iterator[tuple[str, bytes]]:
    """Yield every document of the database, arrays in GridFS included, as BSON."""
    with MongoClient(place.uri(PASSWORD)) as client:
        database = client[DATABASE]
        for name in database.list_collection_names():
            if not name.startswith("system."):
                for document in database[name].find():
                    yield f"{name} {document['_id']}", bson.encode(document)


def written(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in folder.rglob("*"):
        if path.is_file():
            yield str(path), path.read_bytes()


def assert_nowhere(found: dict[str, bytes]) -> None:
    for name, content in found.items():
        for secret in SECRETS:
            assert secret.encode() not in content, f"{secret} is in {name}"


def test_a_run_keeps_its_credentials_to_itself(place: Place) -> None:
    store = place.store("store.yaml", place.uri(PASSWORD))
    printed = {
        "run": place.phonotune(
            *("run", "al.cif", "--config", "config.yaml", "--store", store, "--out", "out"),
            *("--debug",),
        ),
        "results": place.phonotune("results", "--store", store),
        "doctor": place.phonotune("doctor", "--store", store),
    }
    documents = dict(stored(place))
    assert len([name for name in documents if name.startswith("outputs")]) > 10
    assert any(name.startswith("blobs") for name in documents)
    files = dict(written(place.folder / "work"))
    assert any(name.endswith("report.html") for name in files)
    assert_nowhere({name: text.encode() for name, text in printed.items()} | files | documents)
    assert USER.encode() not in b"".join([*documents.values(), *files.values()])


@pytest.mark.parametrize(
    ("wrong", "said"), [("password", "refuses this user"), ("port", "does not answer")]
)
def test_a_store_that_refuses_is_told_without_its_password(
    place: Place, wrong: str, said: str
) -> None:
    uri = place.uri(WRONG) if wrong == "password" else place.uri(PASSWORD)
    closed = "127.0.0.1:1/"
    uri = uri if wrong == "password" else uri.replace(f"{place.host}:{place.port}/", closed)
    store = place.store(f"{wrong}.yaml", uri)
    arguments = ("run", "al.cif", "--config", "config.yaml", "--store", store, "--debug")
    printed = place.phonotune(*arguments, code=2)
    assert said in printed
    assert_nowhere({"run": printed.encode()})


def test_doctor_tells_of_a_wrong_password_without_it(place: Place) -> None:
    store = place.store("doctor.yaml", place.uri(WRONG))
    printed = place.phonotune("doctor", "--store", store, "--debug", code=1)
    assert "refuses this user" in printed
    assert_nowhere({"doctor": printed.encode()})


@pytest.mark.parametrize("manager", ["fireworks", "jobflow-remote"])
def test_what_a_manager_stores_of_a_submission_has_no_credentials(
    place: Place, manager: str
) -> None:
    folder = place.folder / "given" / manager
    login = f"username: {USER}, password: '{PASSWORD}', auth_source: {DATABASE}"
    write_profile(manager, folder, Site(host=place.host, port=place.port, database=DATABASE))
    for file in folder.rglob("*.yaml"):
        text = file.read_text().replace(f"database: {DATABASE}", f"database: {DATABASE}, {login}")
        text = text.replace("username: null", f"username: {USER}")
        text = text.replace("password: null", f"password: '{PASSWORD}'\nauthsource: {DATABASE}")
        file.write_text(text)
    places = {"JFREMOTE_PROJECTS_FOLDER": str(folder / "projects"), "JFREMOTE_PROJECT": "phonotune"}
    options = ("--manager", manager, "--profile", folder / "profile.yaml")
    done = WarmProcess(initialise, manager, folder, folder=place.folder / "said", variables=places)
    assert done.wait() == 0, done.stdout + done.stderr
    printed = {
        "submit": place.phonotune(
            *("submit", "al.cif", "--config", "config.yaml", "--force", *options), **places
        ),
        "status": place.phonotune("status", *options, **places),
        "doctor": place.phonotune("doctor", *options, "--timeout", 1, code=1, **places),
    }
    documents = dict(stored(place))
    collection = "fireworks" if manager == "fireworks" else "jobs"
    assert len([name for name in documents if name.startswith(f"{collection} ")]) > 10
    assert_nowhere({name: text.encode() for name, text in printed.items()} | documents)
    assert_nowhere(dict(written(place.folder / "work")))


def initialise(manager: str, folder: Path) -> None:
    """Set the manager's database up, as ``lpad reset`` and ``jf admin reset`` do."""
    if manager == "fireworks":
        from fireworks.scripts.lpad_run import lpad

        launchpad = str(folder / "my_launchpad.yaml")
        lpad(["-l", launchpad, "reset", "--password", str(date.today())])
    else:
        from jobflow_remote.cli.jf import app

        app(["admin", "reset", "-y"])
