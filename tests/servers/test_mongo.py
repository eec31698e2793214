"""The MongoDB server of the tests keeps what FireWorks and jobflow-remote rely on."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from pymongo import MongoClient

CLIENTS, DRAWS = 4, 150


@pytest.mark.mongo
def test_no_number_is_handed_out_twice(mongo_uri):
    def draw(_: int) -> list[int]:
        with MongoClient(mongo_uri) as client:
            counter = client["draws"]["counter"]
            one = {"$inc": {"next": 1}}
            return [counter.find_one_and_update({}, one)["next"] for _ in range(DRAWS)]

    with MongoClient(mongo_uri) as client:
        client.drop_database("draws")
        client["draws"]["counter"].insert_one({"next": 0})
        with ThreadPoolExecutor(CLIENTS) as pool:
            drawn = sorted(number for part in pool.map(draw, range(CLIENTS)) for number in part)
        client.drop_database("draws")
    assert drawn == list(range(CLIENTS * DRAWS))


@pytest.mark.mongo
def test_a_server_that_was_killed_goes_on_at_the_same_address(mongo_server):
    server = mongo_server(durable=True)
    with MongoClient(server.uri) as client:
        client["kept"]["things"].insert_one({"number": 1})
        server.kill()
        server.start()
        assert client["kept"]["things"].find_one()["number"] == 1
