"""An S3 bucket as the store of the arrays: jobflow sets its keys, here is what else it needs."""

from __future__ import annotations

from typing import Any, Final

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from maggma.core import Store
from maggma.stores import S3Store

BUCKET_ERRORS: Final[tuple[type[Exception], ...]] = (BotoCoreError, ClientError)
"""What boto3 raises where a bucket cannot be used."""

BUCKET_EXAMPLE: Final = (
    "additional_stores: {data: {type: S3Store, bucket: BUCKET, endpoint_url: URL, "
    "s3_profile: PROFILE, key: blob_uuid, index: {type: MongoStore, host: HOST, database: DB, username: "
    "USER, password: PASSWORD, collection_name: blobs, key: blob_uuid}}}"
)


def index_of(store: Store) -> Store:
    """Return the store that is searched: of a bucket its index, else the store itself."""
    return store.index if isinstance(store, S3Store) else store


def be_impatient(store: S3Store, seconds: float) -> None:
    """Give up on an endpoint after some seconds instead of boto3's five times a minute."""
    patience = Config(connect_timeout=seconds, read_timeout=60, retries={"total_max_attempts": 1})
    store.s3_resource_kwargs = {"config": patience} | store.s3_resource_kwargs


def remove_wholly(store: Store, criteria: dict[str, Any]) -> None:
    """Remove what matches from a part of a job store; from a bucket also the objects, not only their index."""
    if isinstance(store, S3Store):
        store.remove_docs(criteria, remove_s3_object=True)
    else:
        store.remove_docs(criteria)
