"""Philox-4x32-10: the published vectors, the two implementations against each other, and what uniforms are made of."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from uddm_kernels import keyed_uniforms, philox4x32
from uddm_kernels.philox import chunked
from uddm_kernels.philox.reference import philox4x32 as philox_reference
from uddm_kernels.philox.reference import uniform53

WORD = st.integers(0, 2**32 - 1)
ONES = 0xFFFFFFFF

# Random123 (Salmon et al., SC 2011), file kat_vectors, "philox4x32 10": counter, key, result.
KNOWN_ANSWERS = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((ONES, ONES, ONES, ONES), (ONES, ONES), (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


def words(*values):
    return tuple(torch.tensor(v, dtype=torch.int64) for v in values)


def random_words(generator, *shape):
    return torch.randint(0, 2**32, shape, generator=generator)


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN_ANSWERS)
def test_philox_gives_the_published_known_answers(counter, key, expected):
    assert philox_reference(counter, key) == expected
    assert tuple(int(w) for w in philox4x32(words(*counter), words(*key))) == expected


@given(st.lists(st.tuples(*[WORD] * 6), min_size=1, max_size=5))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_torch_and_python_integers_give_the_same_words(rows):
    table = torch.tensor(rows, dtype=torch.int64)
    lanes = philox4x32(tuple(table[:, i] for i in range(4)), (table[:, 4], table[:, 5]))
    expected = [philox_reference(row[:4], row[4:]) for row in rows]
    assert list(zip(*(lane.tolist() for lane in lanes), strict=True)) == expected


@pytest.mark.parametrize("count", [1, 6, 7, 8, 13, 14, 15])
def test_the_border_of_a_chunk_does_not_show(monkeypatch, count):
    table = random_words(torch.Generator().manual_seed(1), count, 6)
    monkeypatch.setattr(chunked, "CHUNK", 7)
    lanes = philox4x32(tuple(table[:, i] for i in range(4)), (table[:, 4], table[:, 5]))
    expected = [philox_reference(tuple(row[:4]), tuple(row[4:])) for row in table.tolist()]
    assert list(zip(*(lane.tolist() for lane in lanes), strict=True)) == expected


def test_counter_and_key_broadcast_against_each_other():
    generator = torch.Generator().manual_seed(2)
    c0, c1 = random_words(generator, 3, 1), random_words(generator, 1, 4)
    c2, c3 = random_words(generator), random_words(generator, 2, 1, 1)
    k0, k1 = random_words(generator, 4), random_words(generator, 3, 1)
    lanes = philox4x32((c0, c1, c2, c3), (k0, k1))
    assert {tuple(lane.shape) for lane in lanes} == {(2, 3, 4)}
    for i in range(2):
        for j in range(3):
            for k in range(4):
                counter = (int(c0[j, 0]), int(c1[0, k]), int(c2), int(c3[i, 0, 0]))
                expected = philox_reference(counter, (int(k0[k]), int(k1[j, 0])))
                assert tuple(int(lane[i, j, k]) for lane in lanes) == expected


def test_no_words_in_gives_no_words_out():
    nothing = torch.empty(0, dtype=torch.int64)
    assert [lane.shape for lane in philox4x32((nothing,) * 4, (nothing,) * 2)] == [(0,)] * 4


@given(WORD, WORD)
@settings(max_examples=200, deadline=None, derandomize=True)
def test_a_uniform_holds_the_top_53_bits_of_two_words(high, low):
    bits = (high << 32 | low) >> 32 + 5 << 26 | low >> 6
    made = float(chunked._uniform53(torch.tensor(high), torch.tensor(low)))
    assert made == uniform53(high, low)
    assert made * 2**53 == bits
    assert 0.0 <= made < 1.0


def test_the_largest_words_make_a_uniform_just_below_one():
    largest = chunked._uniform53(torch.tensor(ONES), torch.tensor(ONES))
    assert float(largest) == 1 - 2**-53


def test_keyed_uniforms_come_from_the_reference_words():
    stream, level, step, position, key = 7, 11, 13, 17, (19, 23)
    w = philox_reference((stream, level, step, position), key)
    u, v = keyed_uniforms(torch.tensor(key), *words(stream, level, step, position))
    assert (float(u), float(v)) == (uniform53(w[0], w[1]), uniform53(w[2], w[3]))


def keyed_grid(keys, streams):
    zero = torch.zeros((), dtype=torch.int64)
    return keyed_uniforms(keys[:, None, :], streams[:, None], zero, zero + 3, torch.arange(20))


def test_keyed_uniforms_do_not_depend_on_batch_size_or_order():
    generator = torch.Generator().manual_seed(3)
    keys, streams = random_words(generator, 9, 2), random_words(generator, 9)
    whole = keyed_grid(keys, streams)
    order = torch.randperm(9, generator=generator)
    for part in (order, order[:4], torch.tensor([5])):
        for together, alone in zip(whole, keyed_grid(keys[part], streams[part]), strict=True):
            assert torch.equal(together[part], alone)


def test_keyed_uniforms_are_uniform_and_uncorrelated():
    zero = torch.zeros((), dtype=torch.int64)
    n = 200_000
    u, v = keyed_uniforms(torch.tensor([5, 6]), zero, zero, zero, torch.arange(n))
    assert float(torch.stack((u, v)).min()) >= 0.0
    assert float(torch.stack((u, v)).max()) < 1.0
    # Each of the five below is nearly normal; 5 sigma is a false alarm in 1.7 million, times five. Fixed numbers.
    sigma = (1 / 12 / n) ** 0.5
    assert abs(float(u.mean()) - 0.5) < 5 * sigma
    assert abs(float(v.mean()) - 0.5) < 5 * sigma
    # Var(x**2) = 1/5 - 1/9 = 4/45; Var of a product of two centred uniforms = 1/144.
    assert abs(float((u**2).mean()) - 1 / 3) < 5 * (4 / 45 / n) ** 0.5
    assert abs(float(((u - 0.5) * (v - 0.5)).mean())) < 5 * (1 / 144 / n) ** 0.5
    assert abs(float(((u[1:] - 0.5) * (u[:-1] - 0.5)).mean())) < 5 * (1 / 144 / n) ** 0.5
