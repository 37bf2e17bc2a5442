"""Calibration files: what is written is read; what is not ours, or of something else, is refused with its reason."""

import json
import math
import os
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit_cli.verdicts import calibration
from audit_cli.verdicts.calibration import (
    SCHEMA,
    Calibration,
    CalibrationError,
    Facts,
    HeldFacts,
    LawFacts,
    MadeFor,
    Scored,
    parsed,
    read,
)
from audit_cli.verdicts.duplicates import LEAST_RUN, NearDuplicates
from audit_cli.verdicts.keyed_runs import Keyed, NearMarks, looked_for
from audit_cli.verdicts.lengths import RATIO

KEYED = Keyed(b"a key for tests")
WANTED = MadeFor("basins", "a score", "a" * 64, "b" * 64, None, {"levels": [0.1, 0.25], "restarts": 8, "seed": 0})


def band(shortest, longest, windows=False, texts=(0, 1), score=(1.5, -2.0)):
    n = len(texts)
    zero = [0.0] * n
    return Scored(
        shortest, longest, windows, list(texts), list(score), zero, zero, zero, [[8, 0]] * n, [None, 0.25, *zero][:n]
    )


def facts(bands=(), texts=2, **changed):
    bands = list(bands) or [band(17, 20), band(10, 12), band(20, 20, True)]
    ids = [[*range(30)], [*range(40, 60)]][:texts]
    marks = [KEYED.mark(ids, tokens, beginning) for b in bands for tokens, beginning in looked_for(*b.ends)]
    held = HeldFacts(texts + 1, 0, 1, 0, texts, "c" * 64)
    law = LawFacts("leave-one-out", "confirmed", 0.01)
    unique = list({(m.tokens, m.beginning): m for m in marks}.values())
    made = Facts(SCHEMA, "0.1.0", WANTED, "a model", "cpu", law, held, KEYED.check, texts, bands, unique)
    return replace(made, **changed)


def document(**changed):
    return json.loads(Calibration.of(facts()).encoded()) | changed


def refused(content):
    with pytest.raises(CalibrationError) as error:
        parsed(content if isinstance(content, bytes) else json.dumps(content).encode(), "c.json")
    assert str(error.value).startswith("c.json: ")
    return str(error.value)


def test_what_is_written_is_read():
    made = Calibration.of(facts())
    again = parsed(made.encoded())
    assert again.facts == made.facts
    assert again.sha256 == made.sha256
    assert made.encoded().isascii()
    assert made.encoded().startswith(calibration.HEAD)


def test_a_file_is_read_and_anything_else_in_its_place_is_not(tmp_path):
    path = tmp_path / "c.json"
    path.write_bytes(Calibration.of(facts()).encoded())
    assert read(path).name == str(path)
    os.mkfifo(tmp_path / "pipe")
    for other, said in (("pipe", "regular file"), (".", "directory"), ("none", "No such file"), ("a\0b", "null")):
        with pytest.raises(CalibrationError, match=said):
            read(tmp_path / other)


def test_a_file_that_no_calibration_could_fill_is_not_taken_into_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(calibration, "MOST_BYTES", 100)
    path = tmp_path / "c.json"
    path.write_bytes(Calibration.of(facts()).encoded())
    with pytest.raises(CalibrationError, match="no calibration is so large"):
        read(path)


def test_a_newer_schema_says_what_to_do():
    assert "update uddm-audit" in refused(document(schema="uddm-audit/calibration/2"))
    assert "update uddm-audit" in refused(document(schema="uddm-audit/calibration/10"))
    assert "make it anew" in refused(document(schema="uddm-audit/calibration/0"))
    # The rest of a newer file may look otherwise.
    assert "update uddm-audit" in refused({"schema": "uddm-audit/calibration/2", "bands": "elsewhere"})


@pytest.mark.parametrize("schema", ["uddm-audit/basins/1", "", "uddm-audit/calibration/x", "uddm-audit/calibration/²"])
def test_what_is_no_calibration_is_told_so(schema):
    assert "is no calibration" in refused(document(schema=schema))


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"{}", b"null", b"\xff\xfe", b"[" * 100_000, b'{"schema": 1}', b'{"schema": "' + SCHEMA.encode()],
)
def test_what_is_not_even_an_object_is_told_so(content):
    assert "calibration" in refused(content)


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("score", [1.5]),
        ("score", [1.5, "NaN"]),
        ("score", [True, 1.0]),
        ("texts", [0, 0]),
        ("texts", [0, 7]),
        ("texts", [-1, 0]),
        ("returned", [[8, 0], [8]]),
        ("longest", 30),
        ("shortest", 0),
        ("longest", 10**12),
        ("windows", True),
        ("vanishing_share", [0.0, 1e300]),
        ("basin", [-0.1, None]),
        ("surprise", [0.0, 1e300]),
        ("surprise", [0.0, -0.5]),
        ("entropy", [-0.5, 0.0]),
        ("returned", [[8], [8]]),
    ],
)
def test_parts_that_do_not_fit_are_refused(part, value):
    broken = document()
    broken["bands"][0][part] = value
    assert "damaged" in refused(broken)


@pytest.mark.parametrize(("part", "value"), [("used", 1), ("used", 3), ("skipped", 9), ("given", 0)])
def test_counts_that_do_not_add_up_are_refused(part, value):
    broken = document()
    broken["heldout"][part] = value
    assert "do not add up" in refused(broken)


def test_without_the_hashes_that_find_candidates_among_the_texts_it_is_damaged():
    for kept in ([], document()["marks"][1:]):
        assert "no hashes of runs" in refused(document(marks=kept))


def test_a_band_of_one_length_is_told_as_one():
    assert [one.said for one in (band(20, 20), band(17, 20), band(20, 20, True))] == ["20", "17-20", "over 20"]


def test_scores_beyond_all_numbers_are_refused():
    text = Calibration.of(facts()).encoded().replace(b"1.5", b"1e999")
    assert "damaged" in refused(text)
    assert "damaged" in refused(Calibration.of(facts()).encoded().replace(b"1.5", b"NaN"))
    for score in (math.nan, math.inf):
        with pytest.raises(CalibrationError, match="a score is no number"):
            Calibration.of(facts([band(17, 20, score=(score, 0.0))]))


def test_bands_are_sorted_and_do_not_overlap():
    for bands in ([band(10, 12), band(17, 20)], [band(17, 20), band(16, 18)], [band(20, 20, True), band(10, 12)]):
        with pytest.raises(CalibrationError, match="damaged"):
            Calibration.of(facts(bands))


@pytest.mark.parametrize("hashes", ["*", "AAAA", "AAAAAAA", "é"])
def test_hashes_that_are_none_are_refused(hashes):
    broken = document()
    broken["marks"][0]["hashes"][0] = hashes
    assert "damaged" in refused(broken)
    broken["marks"][0]["hashes"] = []
    assert "damaged" in refused(broken)


@given(st.data())
@settings(max_examples=300, deadline=None, derandomize=True)
def test_a_damaged_file_is_refused_or_says_what_it_can_say(data):
    content = bytearray(Calibration.of(facts()).encoded())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))
    try:
        found = parsed(bytes(content))
    except CalibrationError as error:
        assert str(error)
        return
    assert all(math.isfinite(score) for b in found.facts.bands for score in b.score)
    assert [b.windows for b in found.facts.bands[:-1]] == [False] * (len(found.facts.bands) - 1)
    assert all(b.longest <= RATIO * b.shortest for b in found.facts.bands)
    found.other_than(WANTED)
    NearMarks(found.facts.marks, [b.ends for b in found.facts.bands], KEYED).look(range(18))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from(sorted(document())), JSON, st.booleans())
@settings(max_examples=300, deadline=None, derandomize=True)
def test_anything_in_the_place_of_a_part_is_refused_or_harmless(name, value, inside):
    made = document()
    if inside and isinstance(made[name], dict):
        made[name] |= value if isinstance(value, dict) else dict.fromkeys(made[name], value)
    elif inside and isinstance(made[name], list):
        made[name] = [value]
    else:
        made[name] = value
    try:
        found = parsed(json.dumps(made).encode())
    except CalibrationError:
        return
    found.other_than(WANTED)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"command": "entropy"}, "command (basins there, entropy here)"),
        ({"recipe": "another"}, "recipe (a score there, another here)"),
        ({"weights_sha256": "d" * 64}, "weights (aaaaaaaaaaaa there, dddddddddddd here)"),
        ({"network_sha256": "d" * 64}, "network (bbbbbbbbbbbb there, dddddddddddd here)"),
        ({"tokenizer_sha256": "d" * 64}, "tokenizer (none there, dddddddddddd here)"),
        ({"settings": WANTED.settings | {"restarts": 16}}, "restarts (8 there, 16 here)"),
        ({"settings": WANTED.settings | {"seed": 1}}, "seed (0 there, 1 here)"),
        ({"settings": WANTED.settings | {"levels": (0.1,)}}, "levels ([0.1, 0.25] there, [0.1] here)"),
        ({"settings": WANTED.settings | {"new": True}}, "new (none there, true here)"),
        ({"settings": {"levels": [0.1, 0.25], "restarts": 8}}, "seed (0 there, none here)"),
    ],
)
def test_what_was_made_for_something_else_names_what_differs(changed, said):
    assert Calibration.of(facts()).other_than(replace(WANTED, **changed)) == [said]


def test_of_another_command_only_what_both_have_is_named():
    wanted = replace(WANTED, command="entropy", settings={"t": 1e-5, "seed": 1})
    assert Calibration.of(facts()).other_than(wanted) == [
        "command (basins there, entropy here)",
        "seed (0 there, 1 here)",
    ]


def test_settings_that_differ_by_rounding_or_by_how_json_keeps_them_are_the_same():
    nearly = WANTED.settings | {"levels": (0.1 + 1e-12, 0.25), "seed": 0}
    assert Calibration.of(facts()).other_than(replace(WANTED, settings=nearly)) == []


def test_true_is_not_one():
    assert Calibration.of(facts()).other_than(replace(WANTED, settings=WANTED.settings | {"seed": False}))


def test_values_of_a_stranger_are_made_safe_and_short():
    strange = {"seed": 10**400, "levels": ["\x1b[2J" * 50, 0], "\x1b" * 500: 1} | {str(i): i for i in range(1000)}
    made = replace(WANTED, settings=WANTED.settings | strange)
    told = parsed(Calibration.of(facts(made_for=made)).encoded()).other_than(WANTED)
    assert not [line for line in told if "\x1b" in line or len(line) > 700]
    assert len(told) == calibration.MOST_NAMED


@pytest.mark.parametrize("depth", [10, 100, 400, 900, 5000])
def test_settings_nested_without_end_are_refused_or_differ(depth):
    content = Calibration.of(facts()).encoded().replace(b'"seed": 0', b'"seed": ' + b"[" * depth + b"]" * depth)
    try:
        assert parsed(content).other_than(WANTED)
    except CalibrationError as error:
        assert "nested too deep" in str(error) or "damaged" in str(error)


def test_hashes_of_runs_are_of_the_key():
    text = list(range(30))
    assert not set(Keyed(b"one").of(text, 8, False)) & set(Keyed(b"two").of(text, 8, False))
    assert Keyed(b"one").check != Keyed(b"two").check
    assert len(KEYED.of(text, 8, False)) == 23
    assert len(KEYED.of(text, 8, True)) == 1
    assert len(KEYED.of(text, 31, False)) == len(KEYED.of(text, 31, True)) == 0
    assert len(KEYED.of([1] * 30, 8, False)) == 1


FEW = st.lists(st.lists(st.integers(0, 1), min_size=1, max_size=24), min_size=1, max_size=4)


@given(FEW, FEW)
@settings(max_examples=300, deadline=None, derandomize=True)
def test_near_duplicates_are_those_that_the_texts_themselves_would_give(heldout, candidates):
    """With a band a length: the hashes know as much as the texts."""
    bands = [(n, n) for n in range(24, 0, -1)]
    wanted = {mark for ends in bands for mark in looked_for(*ends)}
    marks = [KEYED.mark(heldout, tokens, beginning) for tokens, beginning in wanted]
    keyed, plain = NearMarks(marks, bands, KEYED), NearDuplicates(heldout, 24)
    for candidate in candidates:
        keyed.look(candidate)
        plain.look(candidate)
    assert keyed.found == plain.found


def test_a_band_is_looked_for_by_the_run_of_its_shortest_and_short_texts_by_their_beginning():
    assert list(looked_for(26, 32)) == [(12, False)]
    assert list(looked_for(5, 6)) == [(5, True), (6, True)]
    assert list(looked_for(7, 8)) == [(7, True), (LEAST_RUN, False)]


def test_candidates_of_no_band_find_nothing():
    marks = [KEYED.mark([list(range(30))], 12, False)]
    near = NearMarks(marks, [(26, 32)], KEYED)
    near.look(range(25))
    near.look(range(33))
    assert near.found == set()
    near.look(np.arange(30))
    assert near.found == {0}
