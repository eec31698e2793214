"""Of two submissions of the same jobs at the same moment one waits for the other."""

import time
from threading import Event, Thread

import mongomock_ng
import pytest

from phonotune.errors import ConfigError, PhonotuneError
from phonotune.flows import submission_lock as module
from phonotune.flows.submission_lock import claimed


@pytest.fixture
def claims():
    return mongomock_ng.MongoClient().db.claims


def test_claims_are_gone_afterwards_also_after_an_error(claims):
    def interrupted():
        with claimed(claims, ["a", "b"]):
            assert claims.count_documents({}) == 2
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert claims.count_documents({}) == 0


def test_who_comes_second_waits_until_the_first_is_through(claims):
    order, first_is_in = [], Event()

    def first():
        with claimed(claims, ["a", "b"]):
            first_is_in.set()
            time.sleep(0.3)
            order.append("first")

    thread = Thread(target=first)
    thread.start()
    first_is_in.wait(10)
    with claimed(claims, ["b", "c"]):
        order.append("second")
    thread.join()
    assert order == ["first", "second"]


def test_who_waits_holds_nothing_and_is_told_who_holds_it(claims, monkeypatch):
    monkeypatch.setattr(module, "PATIENCE", 0.0)
    with claimed(claims, ["b"]):
        message = r"Another submission of the same jobs.*\(process \d+\).*its claim ends in \d+ s"
        with pytest.raises(ConfigError, match=message), claimed(claims, ["a", "b"]):
            pass
        assert [claim["_id"] for claim in claims.find()] == ["b"]


def test_the_claim_of_a_dead_submitter_ends(claims):
    dead = {"_id": "a", "owner": "dead", "by": "me", "expires": time.time() - 1.0}
    claims.insert_one(dead)
    with claimed(claims, ["a"]) as renew:
        renew()
        assert claims.find_one({"_id": "a"})["owner"] != "dead"


def test_who_stood_still_for_too_long_does_not_add_what_another_one_took(claims, monkeypatch):
    monkeypatch.setattr(module, "LEASE", -1.0)
    lost = pytest.raises(PhonotuneError, match="another one took its jobs over")
    with claimed(claims, ["a"]) as renew, claimed(claims, ["a"]), lost:
        renew()
