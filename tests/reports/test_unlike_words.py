"""Words of candidates in a report: as much of them as may be shown of a text, and safe where they stand."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from audit_cli.records import Comparability, FairnessCheck
from audit_cli.reports import terminal
from audit_cli.reports.markdown_file import write_markdown
from audit_cli.reports.metadata import metadata
from audit_cli.reports.tables import Table
from tests.reports.made import EXCERPT, FINGERPRINT, FULL, NONE, measured, report

WORDS = ("zyzzyva", "gh\x1b[31m|ost")
CHECK = FairnessCheck(Comparability.SHIFTED, "more digits (31%, held-out 0%)", 24, 119, 0.97, 0.005, 20, WORDS)
SETTINGS = {"seed": 0, "restarts": 8, "steps": 16, "sampler": "ancestral"}


def unlike():
    plain = report("basins", (measured(),), SETTINGS)
    return replace(plain, heldout=replace(plain.heldout, fairness=CHECK))


def printed(what, redaction):
    file = io.StringIO()
    console = Console(file=file, width=124, markup=False, highlight=False, emoji=False)
    for part in terminal.basins_report(what, redaction, 124, True, True, False):
        console.print(part)
    return file.getvalue()


def as_markdown(what, redaction):
    file = io.BytesIO()
    write_markdown(Table("basins", what, redaction), file)
    return file.getvalue().decode()


@pytest.mark.parametrize("show", [printed, as_markdown])
def test_words_are_shown_as_texts_are(show):
    assert "zyzzyva" in show(unlike(), FULL)
    excerpt = show(unlike(), EXCERPT)
    assert "zyzzyva" not in excerpt and "zy" in excerpt
    for redaction in (FINGERPRINT, NONE):
        assert "zy" not in show(unlike(), redaction)
        assert "shifted" in show(unlike(), redaction)


@pytest.mark.parametrize("show", [printed, as_markdown])
def test_a_word_acts_on_nothing(show):
    said = show(unlike(), FULL)
    assert "\x1b" not in said
    assert "gh" in said


def test_metadata_has_the_check_and_none_of_its_words():
    said = metadata(unlike())
    assert '"grade": "shifted"' in said and '"auc": 0.97' in said and "more digits" in said
    assert "zyzzyva" not in said


def test_where_all_is_of_one_kind_the_run_line_says_so():
    fine = replace(CHECK, grade=Comparability.COMPARABLE, reason="", unlike=0, words=())
    what = unlike()
    said = printed(replace(what, heldout=replace(what.heldout, fairness=fine)), FULL)
    assert "119 held-out" in said and "comparable" in said
    assert "words that set them apart" not in said
