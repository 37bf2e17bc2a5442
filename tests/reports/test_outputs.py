"""Where tables go: what `-o` names, what is refused before any time is spent, and what a failure leaves behind."""

import errno
import io
import json
import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from audit_cli.records import LawCheck, LawCheckResult
from audit_cli.reports.files import Output, OutputError, check_outputs, parse_output, write_report
from audit_cli.reports.formats import FORMATS
from audit_cli.reports.metadata import metadata
from tests.reports.made import FULL, report, results


@pytest.mark.parametrize(
    ("text", "format", "path"),
    [
        ("out.csv", "csv", "out.csv"),
        ("a/b.JSONL", "jsonl", "a/b.JSONL"),
        ("x.y.Parquet", "parquet", "x.y.Parquet"),
        ("parquet=out.bin", "parquet", "out.bin"),
        ("CSV=out", "csv", "out"),
        ("jsonl=out.csv", "jsonl", "out.csv"),
        ("csv=a=b.txt", "csv", "a=b.txt"),
        ("a=b.csv", "csv", "a=b.csv"),
        ("./csv=b.jsonl", "jsonl", "csv=b.jsonl"),
        ("run=1/out.csv", "csv", "run=1/out.csv"),
        ("=.csv", "csv", "=.csv"),
        ("summary.md", "markdown", "summary.md"),
        ("summary.Markdown", "markdown", "summary.Markdown"),
        ("md=summary", "markdown", "summary"),
    ],
)
def test_a_prefix_or_a_suffix_chooses_the_format(text, format, path):
    assert parse_output(text) == Output(format, Path(path))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("out.docx", "unknown kind of output '.docx'"),
        ("out", "unknown kind of output ''"),
        ("xlsx=out.bin", "unknown kind of output '.bin'"),
        (".csv", "unknown kind of output"),
        ("-", "standard output has the report"),
        ("csv=-", "standard output has the report"),
        ("", "names no file"),
        ("csv=", "names no file"),
        ("csv=.", "names no file"),
        ("csv=..", "names no file"),
        ("csv=folder/", "names no file"),
    ],
)
def test_anything_else_is_refused_with_the_formats_that_are_known(text, message):
    with pytest.raises(OutputError, match=message) as raised:
        parse_output(text)
    if "unknown" in message:
        assert all(word in str(raised.value) for word in (*FORMATS, ".csv", ".parquet"))


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def check(*outputs, second=None, inputs=()):
    check_outputs([parse_output(text) for text in outputs], second, [Path(path) for path in inputs])


def refused(message, *outputs, **options):
    with pytest.raises(OutputError, match=message):
        check(*outputs, **options)


def test_outputs_that_can_be_written_are_not_touched_by_the_check(here):
    write_report(parse_output("out.csv"), report(results=results()), FULL, None, bits=False)
    earlier = Path("out.csv").read_text()
    Path("in.jsonl").write_text("{}")
    check("out.csv", "out.parquet", "jsonl=other", second="per-level", inputs=["in.jsonl", "-", "a/hub-name"])
    assert sorted(path.name for path in here.iterdir()) == ["in.jsonl", "out.csv", "out.meta.json"]
    assert Path("out.csv").read_text() == earlier


def test_a_file_that_no_audit_has_written_is_not_replaced(here):
    Path("mine.csv").write_text("precious")
    refused("not written by uddm-audit", "mine.csv")
    refused("not written by uddm-audit", "csv=mine.csv")
    Path("mine.meta.json").write_text('{"schema": "something else"}')
    refused("not written by uddm-audit", "mine.csv")
    refused("not written by uddm-audit", "mine.jsonl")
    Path("late.per-level.csv").write_text("precious")
    refused("not written by uddm-audit", "late.csv", second="per-level")


@pytest.mark.parametrize(
    ("outputs", "second"),
    [
        (["out.csv", "out.csv"], None),
        (["out.csv", "./out.csv"], None),
        (["out.csv", "jsonl=out.csv"], None),
        (["out.csv", "out.per-level.csv"], "per-level"),
        (["out.csv", "jsonl=out.meta.json"], None),
        (["jsonl=out.meta.json", "out.csv"], None),
        (["out.csv", "csv=out.csv.part"], None),
        (["csv=a.part", "csv=a"], None),
        (["link/out.csv", "folder/out.csv"], None),
    ],
)
def test_no_file_is_written_twice(here, outputs, second):
    (here / "folder").mkdir()
    (here / "link").symlink_to("folder")
    refused("written twice", *outputs, second=second)


def test_outputs_that_differ_in_their_suffix_share_their_metadata(here):
    check("out.csv", "out.parquet", second="per-level")


@pytest.mark.parametrize("name", ["out.csv", "out.meta.json", "out.per-level.csv", "out.csv.part"])
def test_every_file_of_an_output_must_be_free_or_a_file(here, name):
    Path(name).mkdir()
    refused("no regular file", "out.csv", second="per-level")
    Path(name).rmdir()
    Path("victim").write_text("precious")
    for target in ("victim", "nothing"):
        Path(name).symlink_to(target)
        refused("no regular file", "out.csv", second="per-level")
        Path(name).unlink()
    os.mkfifo(name)
    refused("no regular file", "out.csv", second="per-level")
    assert Path("victim").read_text() == "precious"


@pytest.mark.parametrize("name", ["out.csv", "out.meta.json", "out.per-level.csv", "out.csv.part"])
def test_no_file_of_an_output_is_one_of_the_inputs(here, name):
    Path(name).write_text("a text")
    os.link(name, "another-name.txt")
    refused("one of the inputs", "out.csv", second="per-level", inputs=[name])
    refused("one of the inputs", "out.csv", second="per-level", inputs=["another-name.txt"])


def test_a_file_of_the_model_is_no_output_but_the_folder_may_take_new_ones(here):
    Path("model").mkdir()
    for name in ("config.json", "README.md", "sub.csv"):
        Path("model", name).write_text("of the model")
    refused("folder of the model", "csv=model/config.json", inputs=["model"])
    refused("not written by uddm-audit", "model/sub.csv", inputs=["model"])
    check("model/new.csv", inputs=["model"])
    write_report(parse_output("model/new.csv"), report(results=results()), FULL, None, bits=False)
    check("model/new.csv", inputs=["model"])
    write_report(parse_output("model/config.csv"), report(results=results()), FULL, None, bits=False)
    refused("folder of the model", "csv=model/config.json", inputs=["model"])


def test_a_folder_that_is_not_there_or_not_writable_is_refused(here, monkeypatch):
    refused("does not exist", "no/such/out.csv")
    Path("file").write_text("")
    refused("does not exist", "file/out.csv")
    refused("too long", "x" * 260 + ".csv")
    refused("too long", "x" * 260 + "/out.csv")
    Path("loop").symlink_to("loop")
    refused("does not exist|symbolic links", "loop/out.csv")
    refused("does not exist|null", "a\0b.csv")

    def read_only(*args, **options):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr("tempfile.NamedTemporaryFile", read_only)
    refused("not writable: Read-only file system", "out.csv")


@pytest.mark.skipif(os.geteuid() == 0, reason="permissions do not bind root")
def test_permissions_are_looked_at(here):
    Path("closed").mkdir(mode=0o500)
    refused("not writable", "closed/out.csv")
    Path("out.csv").touch(mode=0o400)
    refused("not writable", "out.csv")


@pytest.mark.parametrize("name", FORMATS)
def test_a_report_is_its_table_its_second_table_and_its_metadata(here, name):
    suffix = FORMATS[name].suffixes[0]
    files = write_report(parse_output(f"out{suffix}"), report(results=results()), FULL, "per-level", bits=False)
    assert files == [Path(f"out{suffix}"), Path("out.meta.json"), Path(f"out.per-level{suffix}")]
    assert sorted(files) == sorted(path.relative_to(here) for path in here.iterdir())
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert json.loads(Path("out.meta.json").read_text())["settings_id"] == "0123456789ab"


def test_two_outputs_write_their_metadata_once(here):
    what = report(results=results())
    write_report(parse_output("out.csv"), what, FULL, None, bits=False)
    inode = Path("out.meta.json").stat().st_ino
    assert write_report(parse_output("out.jsonl"), what, FULL, None, bits=False)[1] == Path("out.meta.json")
    assert Path("out.meta.json").stat().st_ino == inode
    write_report(parse_output("out.csv"), replace(what, warnings=("other",)), FULL, None, bits=False)
    assert "other" in Path("out.meta.json").read_text()


class Full(io.FileIO):
    """A file on a disk that has room for so many bytes and no more."""

    room = 100

    def write(self, data):
        if self.tell() + len(data) > self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(data)


def fails(number):
    def fail(*args, **options):
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize("buffering", [16, 1 << 20], ids=["while writing", "while flushing"])
@pytest.mark.parametrize("name", FORMATS)
def test_a_full_disk_is_told_and_leaves_everything_as_it_was(here, monkeypatch, name, buffering):
    output = parse_output(f"{name}=out")
    Path("out").write_text("of an earlier run")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fdopen", lambda handle, *_, **__: io.BufferedWriter(Full(handle, "w"), buffering))
        with pytest.raises(OutputError, match="out: disk full"):
            write_report(output, report(results=results()), FULL, "per-level", bits=False)
    assert [path.name for path in here.iterdir()] == ["out"]
    assert Path("out").read_text() == "of an earlier run"


@pytest.mark.parametrize(
    ("function", "number", "message"),
    [
        ("os.fsync", errno.ENOSPC, "disk full"),
        ("os.fsync", errno.EIO, os.strerror(errno.EIO)),
        ("os.fsync", errno.EDQUOT, os.strerror(errno.EDQUOT)),
        ("tempfile.mkstemp", errno.EACCES, os.strerror(errno.EACCES)),
        ("pathlib.Path.replace", errno.EPERM, os.strerror(errno.EPERM)),
    ],
)
def test_any_other_failure_leaves_everything_as_it_was(here, monkeypatch, function, number, message):
    Path("out.csv").write_text("of an earlier run")
    with monkeypatch.context() as patch:
        patch.setattr(function, fails(number))
        with pytest.raises(OutputError, match=f"out.csv: {message}"):
            write_report(parse_output("out.csv"), report(results=results()), FULL, None, bits=False)
    assert [path.name for path in here.iterdir()] == ["out.csv"]
    assert Path("out.csv").read_text() == "of an earlier run"


def test_nothing_is_renamed_before_all_is_written(here, monkeypatch):
    Path("out.csv").write_text("of an earlier run")
    written = []

    def second_one(handle):
        written.append(handle)
        if len(written) == 2:
            fails(errno.ENOSPC)()

    monkeypatch.setattr("os.fsync", second_one)
    with pytest.raises(OutputError, match=r"out\.per-level\.csv: disk full"):
        write_report(parse_output("out.csv"), report(results=results()), FULL, "per-level", bits=False)
    assert [path.name for path in here.iterdir()] == ["out.csv"]
    assert Path("out.csv").read_text() == "of an earlier run"


class Interrupted:
    def __len__(self):
        return 2

    def __iter__(self):
        yield results()[0]
        raise KeyboardInterrupt


@pytest.mark.parametrize("name", FORMATS)
def test_an_interrupt_leaves_no_file_behind(here, name):
    with pytest.raises(KeyboardInterrupt):
        write_report(parse_output(f"{name}=out"), report(results=Interrupted()), FULL, None, bits=False)
    assert list(here.iterdir()) == []


def test_a_link_that_appears_while_the_run_goes_on_is_not_followed(here):
    Path("victim").write_text("precious")
    Path("out.csv").symlink_to("victim")
    write_report(parse_output("out.csv"), report(results=results()), FULL, None, bits=False)
    assert Path("victim").read_text() == "precious"
    assert not Path("out.csv").is_symlink()


def test_metadata_takes_settings_of_any_plain_kind():
    settings = {
        "levels": (0.1, 0.25),
        "law": LawCheck.LEAKS,
        "path": Path("a/b"),
        "kinds": {"b", "a"},
        "nested": {"limit": None, 1: float("inf")},
        "name": "\ud800 ü",
    }
    what = report(settings=settings, law=LawCheckResult(float("nan"), LawCheck.LEAKS, 0))
    text = metadata(what)
    assert text.isascii() and text.endswith("}\n")
    meta = json.loads(text)
    assert meta["settings"] == {
        "levels": [0.1, 0.25],
        "law": "leaks",
        "path": "a/b",
        "kinds": ["a", "b"],
        "nested": {"limit": None, "1": None},
        "name": "\ud800 ü",
    }
    assert meta["law_check"] == {"contrast": None, "result": "leaks", "probes": 0}
    assert meta["model"]["weights_sha256"] == "ab" * 32
    assert meta["heldout"]["references"] == 119 and "median" not in meta["heldout"]
