"""Policies that somebody else has written: each is read or refused in words, and none reaches out of its folder."""

import contextlib
import os
import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit_cli.verdicts import policy as policies
from audit_cli.verdicts.policy import MOST_BYTES, PolicyError
from audit_cli.verdicts.policy_lines import Source, set_lines, too_deep
from audit_cli.verdicts.toml_text import value_of

SET = '\n[sets.a]\ncandidates = "a.txt"\n'
WORDS = st.text(st.characters(codec="utf-8"), max_size=20)
SCALARS = st.one_of(
    st.booleans(), st.integers(), st.floats(), WORDS, st.lists(st.one_of(WORDS, st.integers()), max_size=3)
)


@pytest.fixture
def home(tmp_path, monkeypatch):
    (tmp_path / "in").mkdir()
    monkeypatch.chdir(tmp_path / "in")
    for name in ("a.txt", "b.txt", "[c].txt", "../secret.txt"):
        Path(name).write_text("x\n")
    return Path()


def read(content, *more):
    Path("audit.toml").write_bytes(content.encode() if isinstance(content, str) else content)
    return policies.read(Path("audit.toml"), *more)


def refused(content):
    with pytest.raises(PolicyError) as told:
        read(content)
    assert len(str(told.value)) < 400
    return str(told.value)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("seed = " + "9" * 5000, "too many digits"),
        (".".join("a" * 100_000) + " = 1", "nested too deeply"),
        ("[" + ".".join("a" * 5_000) + "]", "nested too deeply"),
        ('x = {y = """ " """, ' + ".".join("a" * 5_000) + " = 1}", "nested too deeply"),
        ("fdr = " + "[" * 100_000, "nested too deeply"),
        ("fdr = " + "{a=" * 20_000, "nested too deeply"),
        ("x" * 500_000 + " = 1", "unknown key"),
        ("[sets." + "x" * 500_000 + "]", "more than 200 characters"),
        ("[sets.a]\ncandidates = '" + "x" * 5_000 + "'", "File name too long"),
        ("[sets.a]\ncandidates = '**" + "/**" * 3_000 + "/z'", "matches no file"),
        ("[sets.a]\ncandidates = '" + "*q" * 500 + "'", "matches no file"),
        ("[sets.a]\ncandidates = 'a\\u0000*'".replace("'", '"'), "null byte"),
        (f"[measure]\nlevels = {[0.5] * 65}", "levels"),
        (f"[sets.a]\ncandidates = 'a.txt'\nslot = '{'x' * 5_000}'", "slot"),
        (b"\xff", "not UTF-8"),
        (b"#" * (MOST_BYTES + 1), "larger than a policy may be"),
        *[
            (f"fdr = {value}{SET}", "fdr")
            for value in ("nan", "-nan", "inf", "-1", "0", "1", "true", "'x'", "2027-01-01")
        ],
        *[(f"[measure]\nlevels = [{value}]{SET}", "levels") for value in ("nan", "inf", "0", "-0.1", "1.1")],
        *[(f"max-skipped = {value}{SET}", "max-skipped") for value in ("-1", "1.5", "0x" + "f" * 3000)],
        (f"[regime]\nmax-vanishing-share = nan{SET}", "max-vanishing-share"),
    ],
    ids=lambda value: str(value)[:24],
)
def test_what_nobody_can_follow_is_refused_in_a_few_words(home, content, says):
    assert says in refused(content)


@settings(deadline=None)
@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(tmp_path_factory, content):
    file = tmp_path_factory.getbasetemp() / "any.toml"
    file.write_bytes(content.encode("utf-8", "surrogatepass"))
    with contextlib.suppress(PolicyError):
        policies.read(file)


@settings(deadline=None)
@given(
    key=st.sampled_from(["fdr", "seed", "fail-on", "min-references", "baseline", "measure", "regime", "sets", "x"]),
    inner=st.sampled_from(["", "probe", "levels", "restarts", "t", "samples", "max-vanishing-share", "a", '"\\u001b"']),
    value=SCALARS,
)
def test_any_value_of_any_key_is_read_or_refused(tmp_path_factory, key, inner, value):
    file = tmp_path_factory.getbasetemp() / "any.toml"
    file.write_text(f"{key}{'.' if inner else ''}{inner} = {value_of(value)}\n")
    with contextlib.suppress(PolicyError):
        policies.read(file)


@settings(deadline=None)
@given(name=WORDS.filter(str.strip), slot=WORDS)
def test_what_is_in_force_is_a_policy_that_says_the_same(tmp_path_factory, name, slot):
    folder = tmp_path_factory.getbasetemp()
    (folder / "a.txt").write_text("x\n")
    table = f"[sets.{value_of(name)}]\ncandidates = 'a.txt'\ntwins = 3\nslot = {value_of(slot)}\n"
    file = folder / "round.toml"
    file.write_text(table)
    first = policies.read(file)
    shown = first.toml()
    assert shown.replace("\n", "").isprintable()
    said = tomllib.loads(shown)
    assert list(said["sets"]) == [name]
    assert said["sets"][name]["slot"] == (slot or "digits")


class TestPaths:
    @pytest.mark.parametrize("name", ["../secret.txt", "../*.txt", "../sec*", "**/../../*.txt", "x/../../secret.txt"])
    def test_nothing_leaves_the_folder(self, home, name):
        assert "leaves the policy's folder" in refused(f"[sets.a]\ncandidates = '{name}'")

    @pytest.mark.parametrize("name", ["/*", "/etc/*"])
    def test_a_glob_counts_from_the_folder(self, home, name):
        assert "counts from" in refused(f"[sets.a]\ncandidates = '{name}'")

    @pytest.mark.parametrize("name", ["out/*.txt", "*/secret.txt", "*/*.txt", "o*/s*", "**/secret.txt"])
    def test_not_even_whether_there_is_something_is_told_of_what_lies_behind_a_link(self, home, name):
        Path("out").symlink_to("..")
        assert "matches no file" in refused(f"[sets.a]\ncandidates = '{name}'")
        if "**" not in name:
            assert read(f"[sets.a]\ncandidates = '{name}'", True).sets

    def test_a_link_within_it_may_be_followed(self, home):
        Path("sub").mkdir()
        Path("sub/d.txt").write_text("x\n")
        Path("link").symlink_to("sub")
        assert read("[sets.a]\ncandidates = 'l*/*.txt'").sets[0].files == (Path("link/d.txt"),)

    def test_globs_find_what_pathlib_finds(self, home):
        for name in ("x/y/e.txt", "x/f.txt", "x/.h/g.txt", "z/y/h.csv"):
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            Path(name).write_text("x\n")
        for pattern in ("*.txt", "**/*.txt", "*/*", "**/y/*", "x/**/*.txt", "?/y/?.*", "**/[ef].txt", "**/**/y/**/*"):
            found = read(f"[sets.a]\ncandidates = '{pattern}'").sets[0].files
            assert found == tuple(sorted(path for path in Path().glob(pattern) if path.is_file()))

    def test_a_file_may_be_called_as_a_pattern_is_written(self, home):
        assert read("[sets.a]\ncandidates = '[c].txt'").sets[0].files == (Path("[c].txt"),)

    def test_a_tree_is_not_looked_through_for_ever(self, home, monkeypatch):
        monkeypatch.setattr(policies, "MOST_LOOKED_AT", 10)
        assert "files and folders to look at" in refused("[sets.a]\ncandidates = ['*.txt', '**/*.txt', '?.txt']")

    def test_a_folder_that_cannot_be_read_is_no_folder_without_candidates(self, home, monkeypatch):
        def denied(path):
            raise PermissionError(13, "Permission denied", str(path))

        monkeypatch.setattr(os, "scandir", denied)
        assert "Permission denied" in refused("[sets.a]\ncandidates = '*.txt'")

    @pytest.mark.parametrize("name", ["-", "./-", ""])
    def test_standard_input_is_not_a_policys(self, home, name):
        assert re.search("standard input|empty name", refused(f"[sets.a]\ncandidates = ['a.txt', '{name}']"))

    @pytest.mark.parametrize("name", ["hf:owner/model", "hf://owner/model", "owner/model", "gone"])
    def test_a_model_of_the_hub_is_outside(self, home, name):
        content = f"reference-model = '{name}'{SET}"
        assert "no such file or folder" in refused(content)
        assert read(content, True).reference_model == Path(name)

    @pytest.mark.parametrize("key", ["baseline", "reference-model", "sets.a.calibration", "sets.a.heldout"])
    def test_no_key_reaches_out(self, home, key):
        Path("l").symlink_to("../secret.txt")
        for name in ("../secret.txt", "/etc/hostname", "l"):
            told = refused(f"sets.a.candidates = 'a.txt'\n{key} = '{name}'")
            assert f"{key.removeprefix('sets.a.')}: {name!r} leaves" in told

    def test_a_pipe_or_a_device_is_no_policy(self, home):
        os.mkfifo("pipe")
        for path in (Path("pipe"), Path("/dev/zero")):
            with pytest.raises(PolicyError, match="not a regular file"):
                policies.read(path)


class TestLines:
    @pytest.mark.parametrize(
        ("content", "line"),
        [
            ("\n[sets.a]\ncandidates = 'a.txt'", 2),
            ("\n\n[ sets . \"a\" ] # here\ncandidates = 'a.txt'", 3),
            ("fdr = 0.1\nsets.a.candidates = 'a.txt'", 2),
            ("fdr = 0.1\r\nsets.'a' = {candidates = 'a.txt'}\r\n", 2),
            ("[sets]\na.candidates = 'a.txt'", 2),
            ("\nsets = {a = {candidates = 'a.txt'}}", 2),
            ("# [sets.a]\n[sets.a]\ncandidates = 'a.txt'", 2),
            ("# \u2028\x85\n[sets.a]\ncandidates = 'a.txt'", 2),
            ('[sets.a]\ntext-column = """\n[sets.b]\n"""\ncandidates = "a.txt"', 1),
        ],
    )
    def test_a_set_begins_where_its_header_or_its_first_key_stands(self, home, content, line):
        assert [one.line for one in read(content).sets] == [line]

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            ("fdr = 0.1\n\nfdrr = 0.1\n", "audit.toml:3: unknown key 'fdrr'"),
            ("fdr = 0.1\nfail-on = 'never'\n", "audit.toml:2: fail-on: "),
            ("[measure]\nprobe = 'basins'\n\nlevels = [\n  0.5,\n  7,\n]\n", "audit.toml:4: measure: levels[1]: "),
            ("measure = {probe = 'basins', steps = 0}\n", "audit.toml:1: measure: steps: "),
            ("# measure.steps = 1\nmeasure.'steps' = 0\n", "audit.toml:2: measure: steps: "),
            ("seed = 1\nmeasure = 3\n", "audit.toml:2: measure: expected table, got int"),
            ("seed = 1\n[regime]\nsamples = 8\n", "audit.toml:2: regime: sets no limit"),
            (f"seed = 1\nbaseline = '../b.json'{SET}", "audit.toml:2: baseline: '../b.json' leaves"),
            (f"{SET}[sets.b]\nheldout = 'b.txt'\n", "audit.toml:4: sets.b: table missing required field"),
            (f"{SET}[sets.b]\ncandidates = 'gone*'\n", "audit.toml:5: sets.b: candidates: 'gone*' matches no file"),
            (f"{SET}twins = 3\nheldout = 'b.txt'\n", "audit.toml:2: sets.a: heldout and twins are a comparison each"),
            (f"{SET}slot = 'digits'\n", "audit.toml:4: sets.a: slot says what twins redraw"),
            # The line in a list, which looks like a header, is none.
            ("[sets.a]\ncandidates = [\n['b.txt']\n]\ntwins = -1\n", "audit.toml:2: sets.a: candidates[0]: "),
            (
                "[measure]\nlevels = [\n[0.5]\n, 0.1]\nstep = 1\n[sets.a]\ncandidates = '''\nstep = 1\n'''",
                "audit.toml:5: measure: unknown key 'step'; did you mean steps?",
            ),
            # A key that is written otherwise than it is called: the table's line.
            ('[measure]\nseed = 1\n"\\u0073teps" = 0\n', "audit.toml:2: measure: unknown key 'seed'"),
            ('[measure]\n"\\u0073teps" = 0\n', "audit.toml:1: measure: steps: "),
            ('"\\u0066dr" = 2\n', "audit.toml: fdr: "),
        ],
        ids=lambda value: str(value)[:24],
    )
    def test_what_cannot_be_followed_is_told_with_its_line(self, home, content, said):
        assert refused(content).startswith(said)

    @pytest.mark.parametrize("end", ["\n", "\r\n"])
    def test_in_a_pyproject_it_is_the_line_of_that_file(self, home, end):
        lines = [
            "[project]", "fdr = 2", "[tool.other.measure]", "steps = 0",
            "[tool.uddm-audit]", "fdr = 0.1", "[tool.uddm-audit.measure]", "steps = 0",
        ]  # fmt: skip
        Path("pyproject.toml").write_text(end.join(lines), newline="")
        with pytest.raises(PolicyError, match=r"^pyproject\.toml:8: measure: steps: "):
            policies.read(Path("pyproject.toml"))
        Path("pyproject.toml").write_text(end.join([*lines[:5], "fdr = 2"]), newline="")
        with pytest.raises(PolicyError, match=r"^pyproject\.toml:6: fdr: "):
            policies.read(Path("pyproject.toml"))

    def test_the_whole_file_has_no_line(self):
        assert Source(Path("a.toml"), "x = 1\n").at() == "a.toml"

    def test_among_many_sets_it_is_the_line_of_the_one(self, home):
        many = "".join(f"[sets.s{i}]\ncandidates = '[ab].txt'\n" for i in range(1_000))
        assert refused(f"{many}[sets.z]\ncandidates = 'gone*'\n").startswith("audit.toml:2002: ")

    def test_a_pyproject_has_other_sets_too(self):
        content = "[sets.a]\n[tool.uddm-audit.sets.a]\n[tool.uddm-audit]\nsets.b.candidates = 1\n"
        assert set_lines(content, ("tool", "uddm-audit")) == {"a": 2, "b": 4}

    def test_dots_in_strings_and_comments_nest_nothing(self):
        long = "a." * 300
        assert not too_deep(f"# {long}\nx = '{long}'\ny = \"{long}\"\nz = '''\n{long}\n'''\nw = \"\"\"{long}\"\"\"")
        assert too_deep(f'x = "\\""\n{long}b = 1')
