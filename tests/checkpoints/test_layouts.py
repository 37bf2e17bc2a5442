"""How texts and their prompts become rows, and which positions are corrupted and measured."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers

from audit_cli.checkpoints.loaded import Layout, LoadedModel, packed_layout
from audit_cli.checkpoints.tokenizer import TextTokenizer
from audit_cli.probes.basins import BasinProbe
from audit_cli.probes.batching import by_length
from audit_cli.probes.entropy import EntropyProbe
from audit_cli.records import Candidate, ModelInfo, Skipped
from tests.exact import ExactDenoiser

SEP, PAD = 7, 6
LETTERS = {"a": 0, "b": 1, "c": 2, "d": 3, "<end>": SEP, "[PAD]": PAD, "e": 4, "f": 5}


def tokenizer():
    made = Tokenizer(models.WordLevel(LETTERS))
    made.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    made.add_special_tokens(["<end>", "[PAD]"])
    return TextTokenizer(made)


def model(layout):
    net = ExactDenoiser([[0] * layout.row_length, [1] * layout.row_length], 8)
    info = ModelInfo("n", "f", 1, 8, layout.row_length, "log-linear", "leave-one-out", "r", "raw", "w", "t", "s", "b")
    return LoadedModel(net, tokenizer(), layout, info)


def rows(layout, text, prompt=None, ids=None):
    found = model(layout).rows(Candidate("f", 1, "f:1", None if ids else text, ids, prompt))
    return found if isinstance(found, Skipped) else [(row.tokens, row.own, row.prompt) for row in found]


PACKED = packed_layout(8, SEP)
PADDED = Layout(6, PAD, (SEP,), (SEP,))
BESIDE = Layout(4, beside=5)


def test_a_text_in_a_packed_row_stands_between_separators_at_its_length():
    assert rows(PACKED, "abc") == [((SEP, 0, 1, 2, SEP), (0, 1, 2), ())]
    assert rows(PACKED, "abcdef") == [((SEP, 0, 1, 2, 3, 4, 5, SEP), (0, 1, 2, 3, 4, 5), ())]


def test_what_is_longer_has_no_separators_and_fills_the_row():
    ids = (0, 1, 2, 3, 4, 5, 0)
    assert rows(PACKED, "abcdefa") == [(ids, ids, ())]
    windows = rows(PACKED, "abcdef" * 3)
    assert [len(own) for _, own, _ in windows] == [8, 8, 8]
    assert all(tokens == own for tokens, own, _ in windows)


def test_own_samples_of_packed_rows_are_whole_rows():
    layout = model(PACKED).layout
    row = layout.place(Candidate("g", 1, "g:1", token_ids=()), (SEP, 0, SEP, 1, 1, SEP, 2, 3))
    assert layout.unframed(row).own == row.tokens
    assert PADDED.unframed(PADDED.place(Candidate("g", 1, "g", token_ids=()), (SEP, 0, 1, SEP, PAD))).own == (0, 1)


@pytest.mark.parametrize("layout", [PACKED, PADDED, Layout(8)])
def test_a_prompt_stands_in_front_and_is_no_part_of_the_text(layout):
    ((tokens, own, beside),) = rows(layout, "cd", "ab")
    assert own == (2, 3)
    assert beside == ()
    start = tokens.index(2)
    assert tokens[start - 2 : start] == (0, 1)
    assert len(tokens) <= layout.row_length


def test_a_prompt_may_spell_special_tokens_and_a_text_may_not():
    assert rows(Layout(8), "a", "<end>b") == [((SEP, 1, 0), (0,), ())]
    assert isinstance(rows(Layout(8), "a<end>"), Skipped)


def test_a_prompt_beside_the_row_comes_before_every_window():
    assert rows(BESIDE, "cd", "ab") == [((2, 3), (2, 3), (0, 1))]
    assert [p for _, _, p in rows(BESIDE, "abcdef", "d")] == [(3,), (3, 0, 1)]
    assert isinstance(rows(BESIDE, "cd", "abcabc"), Skipped)
    assert isinstance(rows(BESIDE, "abcdefabcdef"), Skipped)


def test_a_prompt_that_leaves_no_room_or_cannot_be_spelled_is_said():
    assert "no room" in rows(Layout(4), "a", "abcd").reason
    assert rows(Layout(4), "a", "abc") == [((0, 1, 2, 0), (0,), ())]
    assert "prompt" in rows(Layout(4), "a", "xyz").reason
    assert rows(Layout(4), "", "b", ids=(5, 5)) == [((1, 5, 5), (5, 5), ())]


@given(st.integers(0, 30), st.integers(0, 12), st.sampled_from([PACKED, PADDED, BESIDE, Layout(8)]))
def test_every_token_of_a_text_is_in_a_row_and_none_is_too_long(length, prompt, layout):
    text = tuple(i % 6 for i in range(length))
    given_prompt = "".join("abcdef"[i % 6] for i in range(prompt)) or None
    found = model(layout).rows(Candidate("f", 1, "f:1", "".join("abcdef"[i] for i in text), None, given_prompt))
    if isinstance(found, Skipped):
        return
    covered = {row.offset + i: token for row in found for i, token in enumerate(row.own)}
    assert tuple(covered[i] for i in range(length)) == text
    assert all(len(row.tokens) <= layout.row_length for row in found)


def test_only_the_text_is_corrupted_and_measured_unless_rows_are_whole():
    plain, whole = model(PADDED), model(PADDED).in_whole_rows()
    found = [m.rows(Candidate("f", 1, "f:1", "ab", None, "c"))[0] for m in (plain, whole)]
    assert found[0].tokens == found[1].tokens == (SEP, 2, 0, 1, SEP, PAD, PAD, PAD)
    masks = [next(by_length([row], 1))[2][0].tolist() for row in found]
    assert masks == [[False, False, True, True, False, False, False, False], [True] * 8]
    assert [row.free for row in found] == [(0, 1), found[1].tokens]
    probe = EntropyProbe(per_token=True)
    measured = [next(probe.measure(plain.denoiser, [row])) for row in found]
    assert [m.tokens for m in measured] == [2, 8]
    assert [t.token_id for t in measured[1].per_token] == list(found[1].tokens)
    basins = [next(BasinProbe((0.9,), 0, restarts=30).measure(plain.denoiser, [row])) for row in found]
    assert basins[0].levels[0].corrupted_tokens < 60 < basins[1].levels[0].corrupted_tokens


def test_rows_of_different_prompts_are_not_measured_together():
    one = model(BESIDE)
    all_rows = [one.rows(Candidate("f", i, "f", "ab", None, p))[0] for i, p in enumerate(("c", "d", "c", None))]
    assert [indices for indices, *_ in by_length(all_rows, 9)] == [[0, 2], [1], [3]]


class Prompted(ExactDenoiser):
    """Certain of its prompt's first token."""

    def prepare(self, prompt):
        return int(prompt[0])

    def hidden(self, tokens, t, context=None):
        out = torch.zeros(*tokens.shape, 8)
        return out if context is None else out.index_fill(2, torch.tensor(context), 50.0)


def test_the_network_is_given_each_rows_prompt():
    net = Prompted([[0] * 4], 8)
    one = model(BESIDE)
    found = [one.rows(Candidate("f", i, "f", "aa", None, p))[0] for i, p in enumerate(("a", "b", None))]
    surprises = [m.surprise_mean for m in EntropyProbe().measure(net, found)]
    assert surprises == pytest.approx([0, 50, 2.0794], abs=1e-3)
    returned = [m.levels[0].returned for m in BasinProbe((0.9,), 0, restarts=4).measure(net, found)]
    assert returned[0] == 4
    assert returned[1] == 0
