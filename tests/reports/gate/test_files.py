"""A gate's files: which names choose which format, what may be replaced, and what a failure leaves behind."""

import errno
import json
import os
import stat
from pathlib import Path

import pytest

from audit_cli.reports.files import Output, OutputError, check_outputs, parse_output, write_gate
from audit_cli.reports.gate.formats import GATE_FORMATS
from audit_cli.reports.outputs import MARK, MARK_WITHIN
from tests.reports.gate.made import everything, hostile, written
from tests.reports.made import FULL

TABLES = ("csv", "jsonl", "parquet")
SELF_DESCRIBING = ("markdown", "json", "sarif", "junit")


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def outputs(*names):
    return [parse_output(name, GATE_FORMATS) for name in names]


def check(*names, inputs=()):
    check_outputs(outputs(*names), None, [Path(path) for path in inputs], GATE_FORMATS)


def refused(message, *names, **options):
    with pytest.raises(OutputError, match=message):
        check(*names, **options)


@pytest.mark.parametrize(
    ("text", "format", "path"),
    [
        ("out.csv", "csv", "out.csv"),
        ("out.json", "json", "out.json"),
        ("out.sarif", "sarif", "out.sarif"),
        ("out.Sarif.JSON", "sarif", "out.Sarif.JSON"),
        ("a/x.sarif.json", "sarif", "a/x.sarif.json"),
        (".sarif.json", "json", ".sarif.json"),
        ("sarif.json", "json", "sarif.json"),
        ("junit.xml", "junit", "junit.xml"),
        ("junit=out", "junit", "out"),
        ("xml=out", "junit", "out"),
        ("sarif=out.json", "sarif", "out.json"),
        ("sarif.json=out", "sarif", "out"),
        ("out.md", "markdown", "out.md"),
    ],
)
def test_a_prefix_or_the_longest_suffix_chooses_the_format(text, format, path):
    assert parse_output(text, GATE_FORMATS) == Output(format, Path(path))


def test_what_is_unknown_is_refused_with_the_formats_of_a_gate():
    with pytest.raises(OutputError) as raised:
        parse_output("out.docx", GATE_FORMATS)
    assert all(word in str(raised.value) for word in (*GATE_FORMATS, ".sarif.json", ".xml"))
    with pytest.raises(OutputError):
        parse_output("out.sarif")


def test_all_files_are_written_and_metadata_beside_tables_only(here):
    names = ["t.csv", "t.jsonl", "p.parquet", "s.md", "r.json", "r.sarif.json", "r.xml"]
    files = write_gate(outputs(*names), everything(), FULL)
    assert [str(path) for path in files] == [
        "t.csv", "t.meta.json", "t.jsonl", "p.parquet", "p.meta.json", "s.md", "r.json", "r.sarif.json", "r.xml"
    ]  # fmt: skip
    assert sorted(path.name for path in here.iterdir()) == sorted(map(str, files))
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert json.loads(Path("t.meta.json").read_text())["gate"]["exit_code"] == 1
    for name in names:
        format = parse_output(name, GATE_FORMATS).format
        assert format == "parquet" or Path(name).read_bytes() == written(format, everything())
    check(*names)
    assert write_gate(outputs(*names), everything(), FULL) == files
    assert write_gate([], everything(), FULL) == []


@pytest.mark.parametrize("name", SELF_DESCRIBING)
def test_a_file_that_says_who_wrote_it_may_be_replaced(here, name):
    assert MARK in written(name, everything())[:MARK_WITHIN]
    path = Path(f"out{GATE_FORMATS[name].suffixes[0]}")
    for content in (b"", b"x" * (MARK_WITHIN - len(MARK)) + MARK, written(name, everything())):
        path.write_bytes(content)
        check(str(path))
    for content in (b"precious", b"x" * (MARK_WITHIN - 5) + MARK, b"\n"):
        path.write_bytes(content)
        refused("not written by uddm-audit", str(path))
        refused("not written by uddm-audit", f"{name}={path}")


def test_a_long_name_of_a_model_does_not_hide_who_wrote_a_file():
    for name in SELF_DESCRIBING:
        assert MARK in written(name, hostile("long" * 5000))[:MARK_WITHIN]


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_replaced_only_where_its_metadata_lies_beside_it(here, name):
    path = Path(f"out.{name}")
    path.write_bytes(b"uddm-audit")
    refused("not written by uddm-audit", str(path))
    path.unlink()
    write_gate(outputs(str(path)), everything(), FULL)
    check(str(path))


def test_files_of_a_model_are_never_replaced_even_if_they_name_the_tool(here):
    Path("model").mkdir()
    for name in ("config.json", "README.md"):
        Path("model", name).write_text("made by uddm-audit")
        refused("folder of the model", f"model/{name}", inputs=["model"])
    check("model/new.json", inputs=["model"])


def test_no_file_is_written_twice_and_none_is_an_input(here):
    refused("written twice", "out.json", "./out.json")
    refused("written twice", "out.csv", "json=out.meta.json")
    check("out.json", "out.xml", "out.csv", "out.parquet")
    Path("policy.json").write_text("uddm-audit")
    refused("one of the inputs", "policy.json", inputs=["policy.json"])
    Path("dir.json").mkdir()
    refused("no regular file", "dir.json")


def appended(path):
    return Output("markdown", Path(path), append=True)


def test_a_summary_follows_what_stands_in_the_file(here):
    new = written("markdown", everything())
    for old, between in ((b"", b""), (b"# Build\n", b"\n"), (b"no end of line", b"\n\n")):
        Path("summary").write_bytes(old)
        Path("summary").chmod(0o644)
        check_outputs([appended("summary")], None, [], GATE_FORMATS)
        assert write_gate([appended("summary")], everything(), FULL) == [Path("summary")]
        assert Path("summary").read_bytes() == old + between + new
        assert stat.S_IMODE(Path("summary").stat().st_mode) == 0o644
        assert [path.name for path in here.iterdir()] == ["summary"]
    Path("summary").unlink()
    write_gate([appended("summary")], everything(), FULL)
    assert Path("summary").read_bytes() == new


def test_two_summaries_follow_each_other(here):
    for _ in range(2):
        write_gate([appended("summary")], everything(), FULL)
    assert Path("summary").read_text().count("# uddm-audit check: FAILED") == 2


def test_what_cannot_be_appended_to_is_refused(here):
    for make in (lambda: Path("s").mkdir(), lambda: Path("s").symlink_to("victim"), lambda: os.mkfifo("s")):
        make()
        with pytest.raises(OutputError, match="no regular file"):
            check_outputs([appended("s")], None, [], GATE_FORMATS)
        Path("s").rmdir() if Path("s").is_dir() else Path("s").unlink()
    with pytest.raises(OutputError, match="written twice"):
        check_outputs([appended("s.md"), *outputs("s.md")], None, [], GATE_FORMATS)
    check_outputs([appended("s.md"), *outputs("s.csv", "md=s.md.part")], None, [], GATE_FORMATS)


def test_a_link_that_appears_while_the_run_goes_on_is_not_followed(here):
    Path("victim").write_text("precious")
    Path("s").symlink_to("victim")
    with pytest.raises(OutputError, match="s: "):
        write_gate([appended("s")], everything(), FULL)
    assert Path("victim").read_text() == "precious" and Path("s").is_symlink()
    assert sorted(path.name for path in here.iterdir()) == ["s", "victim"]


@pytest.mark.parametrize("number", range(1, 7))
def test_nothing_is_renamed_before_all_is_written(here, monkeypatch, number):
    Path("s.md").write_text("of an earlier run")
    written_so_far = []

    def fails(handle):
        written_so_far.append(handle)
        if len(written_so_far) == number:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.fsync", fails)
    with pytest.raises(OutputError, match="disk full"):
        write_gate([appended("s.md"), *outputs("a.csv", "b.json", "c.sarif", "d.xml")], everything(), FULL)
    assert [path.name for path in here.iterdir()] == ["s.md"]
    assert Path("s.md").read_text() == "of an earlier run"
