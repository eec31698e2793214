"""What is masked in names and messages."""

import pytest

from phonotune.store.credentials import masked, secrets_of


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("mongodb://me:pw@host/db", "mongodb://***@host/db"),
        ("mongodb+srv://me:p@ss/w:rd@host/db", "mongodb+srv://***@host/db"),
        ("at 'mongodb://me:pw@h/db' now", "at 'mongodb://***@h/db' now"),
        ("mongodb://host/db", "mongodb://host/db"),
        ("password=hush host=h", "password=*** host=h"),
        ("aws_secret_access_key: AKIA", "aws_secret_access_key: ***"),
        ("/home/me/store", "/home/me/store"),
    ],
)
def test_user_and_password_are_masked(text, shown):
    assert masked(text) == shown


def test_secrets_are_found_at_any_depth_of_a_file():
    spec = {
        "docs_store": {"password": "one", "uri": "mongodb://me:two@h"},
        "additional_stores": {"data": {"client": [{"aws_secret_access_key": "three"}]}},
    }
    assert secrets_of(spec) == ("one", "two", "three")
    assert masked("one, two and three", secrets_of(spec)) == "***, *** and ***"
