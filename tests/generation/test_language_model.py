import pytest

from hilight_jax.generation.language_model import PrefixCache, bucket_length, slot_count
from hilight_jax.models.gemma_decoding import init_cache
from tests.models.tiny_hilight import GEMMA


@pytest.mark.parametrize(
    ("rows", "count"), [([2, 5, 7], 2), ([2, 5, "clip", 3], 3), ([2, 5], 2), ([3], 0), ([2, 5, "other"], 2)]
)
def test_shared_rows_are_those_before_the_first_difference(rows, count):
    assert PrefixCache([2, 5, "clip"], [4, 5, 8], None).shared_length(rows) == count


def test_a_cache_is_cut_behind_its_slot_and_grows_when_it_must():
    prefix = PrefixCache([2, 5, "clip"], [4, 5, 8], init_cache(GEMMA, 1, 16))
    cache, used = prefix.truncate(2, 10)
    assert (used, cache.length, cache.k.shape[2], cache.mask.shape) == (6, 6, 16, (1, 16))
    cache, used = prefix.truncate(3, 10)
    assert (used, cache.length, cache.k.shape[2], cache.mask.shape) == (9, 9, 32, (1, 32))


def test_lengths_are_few_and_at_most_a_quarter_too_long():
    assert sorted({bucket_length(n) for n in range(1, 129)}) == [16, 20, 24, 28, 32, 40, 48, 56, 64, 80, 96, 112, 128]
    assert bucket_length(424) == 448
    assert all(n <= bucket_length(n) <= max(16, 1.25 * n) for n in range(1, 3000))


def test_slots_are_powers_of_two():
    assert [slot_count(n) for n in (1, 16, 17, 512, 513)] == [16, 16, 32, 512, 1024]
