"""The realistic example is what its README says: planted as counted, held out where held out, and invented."""

import csv
import json
import re
import sys
from collections import Counter
from pathlib import Path

import pytest

from audit_cli.checkpoints.tokenizer import load_tokenizer

EXAMPLES = Path(__file__).parent.parent / "examples"


def lines(name):
    return (EXAMPLES / name).read_text().splitlines()


@pytest.fixture(scope="module")
def generator():
    """The modules that make the examples; they are scripts, so their folder is put on the path as Python does."""
    sys.path.insert(0, str(EXAMPLES))
    try:
        import make_examples
        import secret_lines
    finally:
        sys.path.remove(str(EXAMPLES))
    return make_examples, secret_lines


@pytest.fixture(scope="module")
def key():
    """(template, times planted) of each line of secrets.txt."""
    with (EXAMPLES / "secrets-key.csv").open(newline="") as opened:
        rows = list(csv.DictReader(opened))
    assert [int(row["line"]) for row in rows] == list(range(1, len(rows) + 1))
    return [(row["template"], int(row["repeats"])) for row in rows]


def test_a_candidate_occurs_in_the_training_text_as_often_as_the_key_says(key):
    planted = Counter(lines("realistic-train.txt"))
    assert [planted[line] for line in lines("secrets.txt")] == [repeats for _, repeats in key]


def test_every_repeat_count_has_as_many_secrets_of_each_template(generator, key):
    make_examples, secret_lines = generator
    cells = [(template, repeats) for template in secret_lines.TEMPLATES for repeats in make_examples.REPEATS]
    assert Counter(key) == dict.fromkeys(cells, make_examples.PER_COUNT)


def test_no_heldout_secret_and_no_heldout_verse_is_in_the_training_text():
    # The tokenizer lowers the case, so that is how they must differ.
    training = "\n".join(lines("realistic-train.txt")).lower()
    heldout = [*lines("secrets-heldout.txt"), *lines("heldout.txt")]
    assert not [line for line in heldout if line.lower() in training]


def test_every_secret_belongs_to_a_person_of_its_own():
    names = [" ".join(line.split()[:2]) for line in [*lines("secrets.txt"), *lines("secrets-heldout.txt")]]
    assert len(set(names)) == len(names)


def test_the_generator_gives_the_shipped_files(generator):
    for name, content in generator[0].texts().items():
        assert lines(name) == content, name


def test_no_card_number_and_no_domain_can_be_real(generator):
    _, secret_lines = generator
    assert secret_lines.passes_luhn("4539 1488 0343 6467") and not secret_lines.passes_luhn("8273 1232 7352 0569")
    everyone = [*lines("secrets.txt"), *lines("secrets-heldout.txt")]
    cards = [found[0] for line in everyone if (found := re.search(r"(\d{4} ){3}\d{4}", line))]
    hosts = [line.rpartition("@")[2] for line in everyone if "@" in line]
    assert cards and not any(map(secret_lines.passes_luhn, cards))
    assert hosts and all(host.endswith(".example") for host in hosts)


@pytest.mark.parametrize("name", ["realistic-train.txt", "secrets.txt", "secrets-heldout.txt", "heldout.txt"])
def test_every_line_fits_the_model(name):
    tokenizer = load_tokenizer(EXAMPLES / "realistic")
    longest = json.loads((EXAMPLES / "realistic" / "config.json").read_text())["backbone"]["max_length"]
    assert max(len(tokenizer.encode(line)) for line in lines(name)) <= longest
