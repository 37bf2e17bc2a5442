"""The package as a program uses it: `import audit_cli`, and nothing else of it."""

import csv
import gc
import itertools
import subprocess
import sys
import types
from pathlib import Path

import pandas
import pytest
import torch
from typer.testing import CliRunner

import audit_cli
from audit_cli.cli import app

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
KEY = b"a key for tests"
LEVELS = (0.1, 0.25)
pytestmark = pytest.mark.filterwarnings("ignore:with .* the smallest possible p:UserWarning")


@pytest.fixture(scope="module")
def model():
    return audit_cli.load(EXAMPLES / "memorizing")


def lines(name, count=None):
    return (EXAMPLES / f"{name}.txt").read_text().splitlines()[:count]


MIXED = [*lines("candidates", 5), lines("candidates")[0], "tilde ~", "", " ".join(lines("candidates", 4)), "a"]


def open_files():
    return sorted(str(path.resolve()) for path in Path("/proc/self/fd").iterdir())


def rows_of_the_command_line(tmp_path, monkeypatch, *arguments):
    monkeypatch.setenv("UDDM_AUDIT_KEY", KEY.decode())
    done = CliRunner().invoke(app, [*map(str, arguments), "-o", str(tmp_path / "a.csv")])
    assert done.exit_code == 0, done.output
    with (tmp_path / "a.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def assert_same_cells(frame, rows, left_out=("settings_id", "source", "id", "duplicate_of")):
    """Every cell of the frame is what the CSV says; sources and ids are of texts in memory and have other names."""
    assert list(frame.columns) == list(rows[0])
    assert len(frame) == len(rows)
    for name in frame.columns.difference(left_out):
        for mine, theirs in zip(frame[name], (row[name] for row in rows), strict=True):
            if mine is pandas.NA:
                assert theirs == "", name
            elif isinstance(mine, str):
                # A CSV has what a spreadsheet might take for a formula behind an apostrophe.
                assert mine == theirs.removeprefix("'"), name
            else:
                assert float(mine) == float(theirs), name


def test_the_three_lines_of_the_readme(monkeypatch):
    monkeypatch.chdir(EXAMPLES.parent)
    model = audit_cli.load("examples/memorizing")
    results = audit_cli.basins(model, lines("candidates", 6), heldout=lines("heldout", 150), levels=LEVELS)
    frame = audit_cli.frame(results)
    named = set(frame.index[frame["verdict"] == audit_cli.Verdict.MEMORIZED])
    assert named == {i for i, line in enumerate(lines("candidates", 6)) if line in lines("train", 16)}
    assert len(named) == 2


@pytest.mark.parametrize("heldout", [None, 60])
def test_basins_are_those_of_the_command_line(model, tmp_path, monkeypatch, heldout):
    text, held = tmp_path / "mixed.txt", tmp_path / "held.txt"
    mixed = [line for line in MIXED if line]
    text.write_text("\n".join(mixed) + "\n")
    held.write_text("\n".join(lines("heldout", heldout)) + "\n")
    options = ["--heldout", held] if heldout else []
    rows = rows_of_the_command_line(
        tmp_path, monkeypatch, "basins", EXAMPLES / "memorizing", text, *options, "--levels", ".1,.25"
    )
    compared = lines("heldout", heldout) if heldout else None
    found = audit_cli.frame(audit_cli.basins(model, mixed, compared, levels=LEVELS, key=KEY))
    assert_same_cells(found, rows)
    of_files = audit_cli.open_texts([text]), audit_cli.open_texts([held]) if heldout else None
    found = audit_cli.frame(audit_cli.basins(model, *of_files, levels=LEVELS, key=KEY))
    assert_same_cells(found, rows, left_out=("settings_id",))


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        ([], {}),
        (["--draws", "2", "--time", ".3", "--seed", "5"], {"draws": 2, "t": 0.3, "seed": 5}),
        (["--time", ".3"], {"t": 0.3}),
        (["--context", "prefix"], {"context": "prefix"}),
        (["--protocol", "paper"], {"protocol": "paper"}),
        (["--twins", "9", "--slot", "letters"], {"twins": 9, "slot": "letters"}),
    ],
)
def test_entropies_are_those_of_the_command_line(model, tmp_path, monkeypatch, arguments, options):
    text = tmp_path / "mixed.txt"
    mixed = [line for line in MIXED if line]
    text.write_text("\n".join(mixed) + "\n")
    rows = rows_of_the_command_line(tmp_path, monkeypatch, "entropy", EXAMPLES / "memorizing", text, *arguments)
    assert_same_cells(audit_cli.frame(audit_cli.entropy(model, mixed, key=KEY, **options)), rows)


def test_a_reference_model_is_that_of_the_command_line(model, tmp_path, monkeypatch):
    text, held = EXAMPLES / "candidates.txt", tmp_path / "held.txt"
    held.write_text("\n".join(lines("heldout", 80)) + "\n")
    other = EXAMPLES / "generalizing"
    rows = rows_of_the_command_line(
        tmp_path, monkeypatch, "entropy", EXAMPLES / "memorizing", text, "--heldout", held, "--reference-model", other
    )
    found = audit_cli.entropy(
        model, audit_cli.open_texts([text]), lines("heldout", 80), reference_model=audit_cli.load(other), key=KEY
    )
    assert_same_cells(audit_cli.frame(found), rows, left_out=("settings_id",))
    assert {row["recipe"] for row in rows} == {"surprise-difference"}


@pytest.mark.parametrize("measure", [audit_cli.entropy, audit_cli.basins])
def test_without_a_comparison_results_come_before_all_texts_are_read(model, measure):
    given = []

    def endless():
        for number in itertools.count():
            given.append(number)
            yield f"text number {'abcdefghij'[number % 10]} {'klmnopqrst'[number // 10 % 10]}"

    results = measure(model, endless())
    assert not given
    some = list(itertools.islice(results, 20))
    assert [result.candidate.line for result in some] == list(range(1, 21))
    assert len(given) < 200
    results.close()


def test_a_stream_says_what_an_audit_of_all_texts_says(model, tmp_path):
    # The same text as one of the first portion, far behind; a long one twice; one without a text.
    texts = [*MIXED, *lines("heldout", 40), MIXED[0], MIXED[8], audit_cli.Candidate("f", 1, "x", None, (1, 2, 3))]
    from audit_cli.audits import EntropySettings, audit_entropy
    from audit_cli.candidates import GivenTexts
    from audit_cli.redaction import Redaction, ShowText

    report = audit_entropy(model, GivenTexts(texts), None, EntropySettings(), Redaction(ShowText.FINGERPRINT, KEY))
    assert list(audit_cli.entropy(model, texts, key=KEY)) == list(report.results)


def test_what_can_be_read_only_once_is_enough(model):
    texts, held = lines("candidates", 4), lines("heldout", 60)
    once = audit_cli.entropy(model, iter(texts), (line for line in held), key=KEY)
    assert list(once) == list(audit_cli.entropy(model, texts, held, key=KEY))
    assert list(audit_cli.entropy(model, iter(texts), key=KEY)) == list(audit_cli.entropy(model, texts, key=KEY))


def test_results_are_frozen_and_hold_their_text(model):
    own = audit_cli.Candidate("mine", 7, "a name", "In the beginning")
    (result,) = audit_cli.entropy(model, [own], per_token=True)
    assert isinstance(result, audit_cli.TextResult)
    assert (result.candidate, result.status) == (own, audit_cli.Status.MEASURED)
    assert "".join(model.tokenizer.piece(t.token_id) for t in result.entropy.per_token) == "in the beginning"
    with pytest.raises(AttributeError):
        result.tokens = 3


@pytest.mark.parametrize("heldout", [None, lines("heldout", 30)])
@pytest.mark.parametrize("end", ["closed", "forgotten", "broken out of", "an error in its texts"])
def test_a_generator_that_is_abandoned_leaves_nothing_behind(model, tmp_path, heldout, end):
    (tmp_path / "f.txt").write_text("\n".join(lines("train", 100)) + "\n")
    before = open_files()
    results = audit_cli.entropy(model, audit_cli.open_texts([tmp_path / "f.txt"]), heldout)
    if end == "an error in its texts":

        def broken():
            yield from lines("train", 30)
            raise KeyError("mine")

        results = audit_cli.entropy(model, broken(), heldout)
        with pytest.raises(KeyError, match="mine"):
            list(results)
    elif end == "broken out of":
        for _ in results:
            break
        del results
    else:
        next(results)
        if end == "closed":
            results.close()
            assert list(results) == []
        del results
    gc.collect()
    assert open_files() == before


def test_it_is_a_generator(model):
    assert isinstance(audit_cli.entropy(model, []), types.GeneratorType)
    assert list(audit_cli.entropy(model, [])) == []
    assert list(audit_cli.basins(model, [], [])) == []


def test_fingerprints_are_those_of_the_key_and_a_process_has_one(model):
    def prints(**options):
        return [result.fingerprint for result in audit_cli.entropy(model, ["a text"], **options)]

    assert prints(key=KEY) == prints(key=KEY) != prints(key=b"another")
    assert prints() == prints() != prints(key=KEY)
    with pytest.raises(ValueError, match="empty key"):
        audit_cli.entropy(model, ["a text"], key=b"")


def test_too_little_to_compare_with_is_a_warning(model):
    with pytest.warns(UserWarning, match="nothing can be found"):
        (result,) = audit_cli.entropy(model, lines("train", 1), lines("heldout", 8))
    assert result.judgement.verdict is audit_cli.Verdict.INCONCLUSIVE


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"levels": ()}, "no levels"),
        ({"levels": (0.0, 0.5)}, "levels are shares"),
        ({"levels": (float("nan"),)}, "levels are shares"),
        ({"restarts": 0}, "restarts must be"),
        ({"steps": -1}, "steps must be"),
        ({"sampler": "magic"}, "unknown sampler 'magic'; known: ancestral"),
        ({"protocol": "paper", "restarts": 3}, "has its own levels"),
        ({"protocol": "other"}, "protocol is"),
        ({"fdr": 0}, "fdr is a share"),
        ({"fdr": float("nan")}, "fdr is a share"),
        ({"seed": -1}, "seed must be"),
        ({"batch_size": 0}, "batch_size must be"),
        ({"twins": -1}, "twins must be"),
        ({"twins": 9, "heldout": ["a"]}, "twins need no other comparison"),
        ({"twins": 9, "slot": "nothing"}, "neither digits"),
    ],
)
def test_settings_that_contradict_are_told_at_once(model, options, message):
    with pytest.raises(ValueError, match=message):
        audit_cli.basins(model, ["a text"], **options)


def test_the_settings_of_entropy_are_checked_too(model):
    wrong = [{"t": 0.0}, {"t": 2.0}, {"draws": -1}, {"context": "none"}, {"reference_model": model}]
    for options in wrong:
        with pytest.raises(ValueError, match=next(iter(options))):
            audit_cli.entropy(model, ["a text"], **options)


def test_one_text_is_no_list_of_texts(model):
    for texts in ("a text", Path("a"), None, 3):
        with pytest.raises(TypeError, match="a list of texts is expected"):
            audit_cli.entropy(model, texts)
    with pytest.raises(TypeError, match="a list of texts is expected"):
        audit_cli.entropy(model, ["a"], "b")
    with pytest.raises(TypeError, match="text 2 is a int"):
        list(audit_cli.entropy(model, ["a", 3]))
    with pytest.raises(TypeError, match="a list of paths"):
        audit_cli.open_texts("file.txt")


def test_files_that_are_wrong_are_the_projects_errors(model, tmp_path):
    with pytest.raises(audit_cli.CheckpointError, match="no such file"):
        audit_cli.load(tmp_path / "nothing")
    with pytest.raises(ValueError, match="weights are raw, ema or None"):
        audit_cli.load(EXAMPLES / "memorizing", weights="best")
    with pytest.raises(ValueError, match="device 'abacus'"):
        audit_cli.load(EXAMPLES / "memorizing", device="abacus")
    with pytest.raises(audit_cli.CandidateError, match="no such file"):
        audit_cli.open_texts([str(tmp_path / "nothing.txt")])
    path = tmp_path / "f.txt"
    path.write_text("one\ntwo\n")
    opened = audit_cli.open_texts([path])
    path.write_text("one\nTWO\n")
    with pytest.raises(audit_cli.CandidateError, match="changed"):
        list(audit_cli.entropy(model, opened))


HEAVY = "{'torch', 'pandas', 'numpy', 'typer', 'pyarrow'} & set(sys.modules)"


@pytest.mark.parametrize(
    "names", ["audit_cli.__version__", "dir(audit_cli)", "audit_cli.Verdict", "audit_cli.open_texts"]
)
def test_importing_the_package_and_its_records_loads_nothing_heavy(names):
    subprocess.run([sys.executable, "-c", f"import sys, audit_cli; {names}; sys.exit(len({HEAVY}))"], check=True)


def test_every_name_that_is_promised_is_there():
    for name in audit_cli.__all__:
        assert getattr(audit_cli, name) is not None
        assert name in dir(audit_cli)
    with pytest.raises(AttributeError, match="nothing"):
        _ = audit_cli.nothing


def test_the_promised_names_are_the_typed_ones():
    # What a type checker sees stands in the file; what Python sees is made of __all__.
    import ast

    tree = ast.parse(Path(audit_cli.__file__).read_text())
    imported = {
        alias.name: node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module.startswith("audit_cli")
        for alias in node.names
    }
    assert sorted([*imported, "__version__"]) == sorted(audit_cli.__all__)
    for name, module in imported.items():
        assert getattr(audit_cli, name) is getattr(sys.modules[module], name)
    assert (Path(audit_cli.__file__).parent / "py.typed").exists()


@pytest.mark.parametrize("seed", [1.5, 1.0, "1", True, None])
def test_a_seed_is_a_whole_number(memorizing, seed):
    with pytest.raises(ValueError, match="seed must be a whole number"):
        audit_cli.entropy(memorizing, ["a"], seed=seed)


def test_a_candidate_without_a_name_gets_one(model):
    given = [audit_cli.Candidate(text="in the beginning"), audit_cli.Candidate(text="was", prompt="the word ")]
    found = list(audit_cli.entropy(model, given))
    assert [(r.candidate.source, r.candidate.line, r.candidate.id) for r in found] == [
        ("text", 1, "text:1"),
        ("text", 2, "text:2"),
    ]
    assert [r.tokens for r in found] == [16, 3]


def test_precision_is_given_by_name_or_type():
    for dtype in ("bfloat16", torch.bfloat16):
        assert audit_cli.load(EXAMPLES / "memorizing", dtype=dtype).info.precision == "bfloat16"
    with pytest.raises(ValueError, match="float32, bfloat16, float16, not float64"):
        audit_cli.load(EXAMPLES / "memorizing", dtype=torch.float64)


def test_kernels_are_given_by_name_and_refused_where_they_do_not_run():
    assert audit_cli.load(EXAMPLES / "memorizing").backend == "chunked"
    assert audit_cli.load(EXAMPLES / "memorizing", backend="chunked").backend_in_use == "chunked"
    with pytest.raises(ValueError, match="not on cpu"):
        audit_cli.load(EXAMPLES / "memorizing", backend="fused")
    with pytest.raises(ValueError, match="fused, chunked or None, not 'fast'"):
        audit_cli.load(EXAMPLES / "memorizing", backend="fast")
