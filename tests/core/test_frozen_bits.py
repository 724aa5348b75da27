"""The bits that calls have had: no rewrite may change them."""

import pytest

from tests.frozen_bits import digest, kept, result_of
from tests.frozen_calls import table
from tests.fuzz.ways import registered, ways

CALLS = table()


@pytest.fixture(autouse=True, scope="module")
def _all_ways():
    with registered():
        yield


@pytest.mark.parametrize("name", CALLS)
def test_every_way_gives_the_bits_that_are_kept(name):
    call, hash_ = CALLS[name], kept()[name]
    got = {way: digest(result_of(call, **options)) for way, options in ways().items()}
    assert got == dict.fromkeys(got, hash_)


def test_hashes_are_kept_of_all_calls_and_no_others():
    assert kept().keys() == CALLS.keys()
