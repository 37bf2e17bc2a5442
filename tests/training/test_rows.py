import numpy as np
import pytest

from audit_cli.checkpoints.tokenizer import train_tokenizer
from audit_cli.training import make_rows

LINES = ["abc", "", "abcdefgh", "ab?", "cab"]


def tokenizer(rows):
    return train_tokenizer("char", ["abcdefgh"], rows, "none")


def test_cut_lines_keep_their_length_up_to_the_rows():
    t = tokenizer("cut")
    rows = make_rows(LINES, t, 5, "cut")
    assert rows.lengths.tolist() == [3, 5, 3]
    assert t.decode(rows.tokens[1]) == "abcde"
    assert (rows.lines, rows.shortened) == (5, 1)
    assert rows.skipped == ((4, "'?' is not in the model's vocabulary"),)


def test_padded_rows_are_full_and_their_padding_is_real():
    t = tokenizer("pad")
    rows = make_rows(LINES, t, 5, "pad")
    assert rows.lengths.tolist() == [5, 5, 5]
    assert rows.tokens[0].tolist() == [*t.encode("abc"), t.id_of("[PAD]"), t.id_of("[PAD]")]


def test_packed_rows_are_the_stream_of_lines_with_separators():
    t = tokenizer("pack")
    rows = make_rows(LINES, t, 4, "pack")
    separator = [t.id_of("[SEP]")]
    stream = [*t.encode("abc"), *separator, *t.encode("abcdefgh"), *separator, *t.encode("cab"), *separator]
    assert rows.tokens.reshape(-1).tolist() == stream[: len(stream) // 4 * 4]


def test_text_without_a_row_is_refused():
    for lines in ([], [""], ["???"]):
        with pytest.raises(ValueError, match="no row of tokens"):
            make_rows(lines, tokenizer("cut"), 4, "cut")
    assert make_rows(["abc"], tokenizer("cut"), 4, "cut").tokens.dtype == np.int32
