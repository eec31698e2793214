"""Open the job store: an embedded one on disk by default, or what a yaml file says."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml
from jobflow import JobStore
from maggma.core import Store
from maggma.stores import MemoryStore, MontyStore, S3Store
from pymongo.errors import PyMongoError

from phonotune.errors import StoreError
from phonotune.settings import get_settings
from phonotune.store.buckets import BUCKET_ERRORS, BUCKET_EXAMPLE, be_impatient
from phonotune.store.credentials import describe, masked, secrets_of

BLOB_STORE: Final[str] = "data"
"""Name of the additional store that holds the Blobs."""

STORE_ERRORS: Final[tuple[type[Exception], ...]] = (
    OSError,
    RuntimeError,
    ValueError,
    PyMongoError,
    *BUCKET_ERRORS,
)
"""What the clients of databases and buckets raise."""

SERVER_PATIENCE: Final = 4.0
"""Seconds until a server that does not answer counts as not there, unless the yaml says otherwise."""

EXAMPLE: Final = (
    "docs_store: {type: MongoStore, host: HOST, database: DB, username: USER, password: PASSWORD, "
    "collection_name: outputs}; additional_stores: {data: {type: GridFSStore, host: HOST, database: "
    "DB, username: USER, password: PASSWORD, collection_name: blobs}}"
)


def open_store(path: Path | None = None) -> JobStore:
    """Open and connect a job store.

    Parameters
    ----------
    path
        A folder (embedded store), or a yaml file with ``docs_store`` and ``additional_stores``. None:
        ``PHONOTUNE_STORE``, else the store of ``JOBFLOW_CONFIG_FILE`` if that is set, else the embedded
        store in the data directory.

    Raises
    ------
    StoreError
        If the store cannot be reached or read, or has no additional store ``data``.
        :func:`phonotune.store.check_store` also tries to write.
    """
    chosen = path if path is not None else get_settings().store
    if chosen is None and os.environ.get("JOBFLOW_CONFIG_FILE"):
        from jobflow import SETTINGS

        return connect(SETTINGS.JOB_STORE, os.environ["JOBFLOW_CONFIG_FILE"])
    chosen = Path(chosen).expanduser() if chosen is not None else get_settings().store_path
    if chosen.suffix in {".yaml", ".yml"}:
        return connect(_from_yaml(chosen), str(chosen))
    return connect(_embedded(chosen), str(chosen))


def parts_of(store: JobStore) -> Iterator[Store]:
    """Yield the store of the documents, then those of the Blobs."""
    yield store.docs_store
    yield from store.additional_stores.values()


def is_embedded(store: Store) -> bool:
    """Return True for a store in this process: no server, no index, every query reads all."""
    return isinstance(store, MemoryStore | MontyStore)


def _from_yaml(path: Path) -> JobStore:
    if not path.is_file():
        raise StoreError(f"Store file {str(path)!r} does not exist. Write one like: {EXAMPLE}.")
    try:
        spec = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise StoreError(
            f"Store file {str(path)!r} cannot be read ({error.strerror}). Choose another with "
            "--store or PHONOTUNE_STORE."
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        line = getattr(getattr(error, "problem_mark", None), "line", None)
        where = "" if line is None else f" (line {line + 1})"
        raise StoreError(
            f"Store file {str(path)!r} is not valid yaml{where}. Write one like: {EXAMPLE}."
        ) from None  # the parser's own message quotes the line, and with it a password
    if not isinstance(spec, dict) or "docs_store" not in spec:
        raise StoreError(f"Store file {str(path)!r} has no docs_store. Write one like: {EXAMPLE}.")
    try:
        return JobStore.from_dict_spec(spec)
    except (KeyError, TypeError, ValueError, AttributeError, PyMongoError) as error:
        raise StoreError(
            f"Store file {str(path)!r} does not describe a job store "
            f"({masked(str(error), secrets_of(spec))}). Write one like: {EXAMPLE}."
        ) from None


def _embedded(folder: Path) -> JobStore:
    """Return a store of two MontyStores in a folder, which is made if missing.

    The path is made absolute: jobs run in folders of their own and open the store again.
    """
    folder = folder.resolve()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"Store folder {str(folder)!r} cannot be made ({error.strerror}). "
            "Choose a folder you can write to with --store or PHONOTUNE_STORE."
        ) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise StoreError(
            f"Store folder {str(folder)!r} is not writable. "
            "Choose another with --store or PHONOTUNE_STORE."
        )
    return JobStore(
        MontyStore("outputs", database_path=str(folder), database_name="phonotune"),
        additional_stores={
            BLOB_STORE: MontyStore("blobs", database_path=str(folder), database_name="phonotune")
        },
    )


def connect(store: JobStore, where: str) -> JobStore:
    """Connect a store and read from each of its parts; `where` names it in errors.

    Raises
    ------
    StoreError
        One sentence on what is wrong, and what to write.
    """
    if BLOB_STORE not in store.additional_stores:
        raise StoreError(
            f"The store of {where!r} has no additional store {BLOB_STORE!r} for arrays. "
            f"Write the file like: {EXAMPLE}."
        )
    part = store.docs_store
    try:
        for part in parts_of(store):
            server: Any = part
            if isinstance(part, S3Store):
                be_impatient(part, SERVER_PATIENCE)
                server = part.index
            if getattr(server, "mongoclient_kwargs", None) is not None:
                patience = {"serverSelectionTimeoutMS": int(1000 * SERVER_PATIENCE)}
                server.mongoclient_kwargs = patience | server.mongoclient_kwargs
            part.connect()
            part.query_one({part.key: "phonotune connection check"}, [part.key])
    except STORE_ERRORS as error:
        close(store)
        raise refusal(error, part, where) from None
    return store


def close(store: JobStore) -> None:
    """Close those parts of a store that are connected."""
    for part in parts_of(store):
        bucket = isinstance(part, S3Store) and part.s3 is not None
        if bucket or (getattr(part, "_coll", None) is not None and not is_embedded(part)):
            part.close()


def refusal(error: Exception, store: Store, where: str, doing: str = "read") -> StoreError:
    """Return the error of a store that refused, as one sentence without credentials.

    Parameters
    ----------
    error
        What the database's client raised.
    store
        The part of the job store that refused.
    where
        The file or folder that names the store.
    doing
        ``"read"`` or ``"written"``.
    """
    from pymongo.errors import ConfigurationError, ConnectionFailure, OperationFailure

    name = describe(store)
    text = masked(str(error), secrets_of([vars(store)]))
    text = re.split(r", (?:Timeout|full error):|\(configured timeouts", text)[0].strip()
    code = error.code if isinstance(error, OperationFailure) else None
    if isinstance(error, ConnectionFailure):
        what = (
            f"{name} of {where!r} does not answer within {SERVER_PATIENCE:g} s ({text}). "
            "Is the server running, are host and port right, is there a firewall or tunnel in between?"
        )
    elif code == 18 or "authentication" in text.lower():
        what = f"{name} of {where!r} refuses this user and password ({text})."
    elif code == 13:
        what = f"{name} of {where!r} cannot be {doing} by this user ({text}). Give it the role readWrite."
    elif isinstance(error, ConfigurationError):
        what = f"{name} of {where!r} is not the address of a database ({text})."
    else:
        what = f"{name} of {where!r} cannot be {doing} ({text})."
    example = BUCKET_EXAMPLE if isinstance(store, S3Store) else EXAMPLE
    advice = "" if is_embedded(store) else f" The file looks like: {example}."
    return StoreError(f"The store {masked(what)}{advice}")
