"""Strings from outside, made safe for a terminal, a spreadsheet, Markdown, XML and a UTF-8 file."""

import csv
import html
import io
import re
import sys
import unicodedata
from urllib.parse import unquote_to_bytes
from xml.etree import ElementTree

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from audit_cli.safetext import encodable, for_csv, for_markdown, for_sarif, for_terminal, for_uri, for_xml

ANY_TEXT = st.text(st.characters())  # surrogates, controls and unassigned code points included
HOSTILE = st.text(st.sampled_from("=+-@\t\r\n＝＋－＠ '\"\0;,a1\x1b\x9b\u202e\u2066\ud800\ufeff"))
PRINTABLE_ASCII = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E))
BLOCK = 0x1000
# Unicode's Default_Ignorable_Code_Point, as far as Python calls them printable: letters and marks that show nothing.
INVISIBLE_RANGES = [(0x34F, 0x34F), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F), (0x3164, 0x3164)]
INVISIBLE_RANGES += [(0xFE00, 0xFE0F), (0xFFA0, 0xFFA0), (0xE0100, 0xE01EF)]
INVISIBLE = {chr(code) for first, last in INVISIBLE_RANGES for code in range(first, last + 1)}


@pytest.mark.parametrize("start", range(0, sys.maxunicode + 1, 0x10000))
def test_no_code_point_reaches_a_terminal_unless_it_is_printable(start):
    for first in range(start, start + 0x10000, BLOCK):
        text = "".join(map(chr, range(first, first + BLOCK)))
        shown = for_terminal(text)
        assert shown.isprintable()
        # Escapes are ASCII; everything else stands as it was, unless it shows nothing.
        printable = {c for c in text if ord(c) > 0x7E and c.isprintable()}
        kept = {c for c in shown if ord(c) > 0x7E}
        assert printable - INVISIBLE <= kept <= printable


@given(ANY_TEXT)
@settings(max_examples=200, deadline=None, derandomize=True)
def test_a_terminal_gets_no_control_no_override_and_no_line_break(text):
    shown = for_terminal(text)
    assert not {unicodedata.category(c) for c in shown} & {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    assert len(shown.splitlines()) <= 1
    shown.encode()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J", "\\x1b[2J"),
        ("\x9b31m", "\\x9b31m"),
        ("a\rb\nc\td", "a\\x0db\\x0ac\\x09d"),
        ("evil\u202etxt.exe", "evil\\u202etxt.exe"),
        ("\u2066x\u2069", "\\u2066x\\u2069"),
        ("\x7f\x00", "\\x7f\\x00"),
        ("zero\u200bwidth", "zero\\u200bwidth"),
        ("no\u00a0break", "no\\xa0break"),
        ("\ud800", "\\ud800"),
        ("\U000e0041", "\\U000e0041"),
        ("Grüße, 世界 👋", "Grüße, 世界 👋"),
    ],
)
def test_what_a_terminal_could_act_on_becomes_a_visible_escape(text, shown):
    assert for_terminal(text) == shown


def test_letters_and_marks_that_show_nothing_become_a_visible_escape():
    assert [hex(ord(c)) for c in sorted(INVISIBLE) if not for_terminal(f"a{c}b").isascii()] == []


@given(PRINTABLE_ASCII)
@settings(max_examples=100, deadline=None, derandomize=True)
def test_printable_ascii_is_shown_as_it_is(text):
    assert for_terminal(text) == text
    assert encodable(text) == text


@given(st.one_of(ANY_TEXT, HOSTILE))
@settings(max_examples=400, deadline=None, derandomize=True)
def test_no_cell_begins_like_a_formula(text):
    cell = for_csv(text)
    # Spreadsheets drop NULs, and trim spaces and quotes, before they look.
    assert not cell.startswith(tuple("=+-@\t\r\n＝＋－＠"))
    assert cell.startswith("'") or cell.replace("\0", "").strip(" \"'")[:1] not in tuple("=+-@＝＋－＠")
    assert cell in (encodable(text), "'" + encodable(text))
    cell.encode()


@given(st.text(st.characters(min_codepoint=0x21, categories=("L", "N", "S", "Z")), min_size=1))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_a_harmless_cell_is_left_as_it_is(text):
    text = "a" + text
    assert for_csv(text) == text


@given(st.lists(st.one_of(ANY_TEXT, HOSTILE), min_size=1, max_size=5))
@example(["two\rlines"])
@example(['"', "a,b", "a\nb", "\0"])
@settings(max_examples=400, deadline=None, derandomize=True)
def test_any_text_comes_back_from_a_csv_file_with_an_apostrophe_at_most(texts):
    file = io.StringIO(newline="")
    csv.writer(file, quoting=csv.QUOTE_ALL).writerows([for_csv(text)] for text in texts)
    # As from a file on disk: UTF-8 bytes, line ends untouched.
    read = [cell for (cell,) in csv.reader(io.StringIO(file.getvalue().encode().decode(), newline=""))]
    for cell, text in zip(read, texts, strict=True):
        assert cell in (encodable(text), "'" + encodable(text))


MARKUP = st.lists(
    st.sampled_from(
        [*"!#$%&*+-./:<=>@[]\\^_`{|}~()\"' \n1a", "www.", "http://", "a.bc", "GH-1", "<b>", "&lt;", "~~", "**"]
    )
).map("".join)


@given(st.one_of(ANY_TEXT, MARKUP))
@settings(max_examples=400, deadline=None, derandomize=True)
def test_a_cell_of_markdown_holds_no_active_character(text):
    cell = for_markdown(text)
    assert len(cell.splitlines()) <= 1
    without_entities = re.sub(r"&#\d+;", "", cell)
    assert not set(without_entities) & set("!#$%&*+-./:<=>@[\\]^_`{|}~\r\n\t")
    assert without_entities.isprintable()


@given(st.one_of(ANY_TEXT, MARKUP))
@settings(max_examples=400, deadline=None, derandomize=True)
def test_a_cell_of_markdown_reads_as_a_terminal_shows_it(text):
    assert html.unescape(for_markdown(text)).replace("\u200b", "") == for_terminal(text)


@given(st.one_of(ANY_TEXT, MARKUP))
@example("|")
@example("![a](b) <img src=x> [c]: d `e` **f** ~~g~~ \\| h\n\n# i")
@settings(max_examples=300, deadline=None, derandomize=True)
def test_a_markdown_parser_finds_nothing_but_text_in_a_cell(text):
    parser = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    tokens = parser.parse(f"| a | b |\n|---|---|\n| {for_markdown(text)} | end |\n")
    cells = [token for token in tokens if token.type == "inline"][2:]
    assert len(cells) == 2
    assert {child.type for child in cells[0].children} <= {"text", "text_special"}
    shown = "".join(child.content for child in cells[0].children).replace("\u200b", "")
    assert shown == for_terminal(text).strip()
    assert cells[1].content == "end"


@given(st.one_of(ANY_TEXT, MARKUP))
@example("see http://a.bc, www.a.bc, me@a.bc, @you, #1, GH-1, o/r#2, !3, $4, %5, ~bug, &6, :tada:, mailto:a@b.c")
@settings(max_examples=300, deadline=None, derandomize=True)
def test_a_site_that_looks_into_rendered_markdown_finds_no_mention_link_or_emoji(text):
    rendered = html.unescape(for_markdown(text))
    assert not re.search(r"[@#!$%&~]\w|://|www\.|:[\w+-]+:|gh-\d", rendered, re.IGNORECASE)


def test_words_and_sentences_are_left_as_they_are_in_markdown():
    assert for_markdown('Hello, "world" (yes); really?') == 'Hello, "world" (yes); really?'


def as_xml(content):
    return ElementTree.fromstring(content)  # noqa: S314 (it is ours)


@given(st.one_of(ANY_TEXT, MARKUP))
@example("]]>")
@example("\0\x01\x0b\x7f\x85\ufffe\uffff\ud800 \t\r\n")
@settings(max_examples=400, deadline=None, derandomize=True)
def test_any_text_is_the_content_and_an_attribute_of_xml(text):
    safe = for_xml(text)
    element = as_xml(f"<a b=\"{safe}\" c='{safe}'>{safe}</a>".encode())
    assert (element.text or "", element.get("b"), element.get("c")) == (for_terminal(text),) * 3
    assert list(element) == []
    assert for_terminal(text).isprintable()
    assert as_xml(ElementTree.tostring(element)).text == element.text


@pytest.mark.parametrize("start", range(0, sys.maxunicode + 1, 0x10000))
def test_every_code_point_has_a_place_in_xml_and_markdown(start):
    text = "".join(map(chr, range(start, start + 0x10000)))
    assert as_xml(f"<a>{for_xml(text)}</a>").text == for_terminal(text)
    assert html.unescape(for_markdown(text)).replace("\u200b", "") == for_terminal(text)


@given(ANY_TEXT)
@settings(max_examples=200, deadline=None, derandomize=True)
def test_encodable_text_is_the_text_with_escapes_for_lone_surrogates_only(text):
    safe = encodable(text)
    assert safe.encode().decode() == safe
    expected = "".join(f"\\u{ord(c):04x}" if unicodedata.category(c) == "Cs" else c for c in text)
    assert safe == expected


@given(st.one_of(ANY_TEXT, st.text(st.sampled_from("[](){}\\ a0"))))
@settings(max_examples=300, deadline=None, derandomize=True)
def test_a_message_of_sarif_has_no_link_and_no_placeholder(text):
    shown = for_sarif(text)
    assert shown.isprintable()
    # Read as the standard says, it is what a terminal shows.
    assert re.fullmatch(r"(?:[^\\\[\]{}]|\\[\\\[\]]|\{\{|\}\})*", shown)
    assert re.sub(r"\\([\\\[\]])|(\{|\}){2}", r"\1\2", shown) == for_terminal(text)


@given(ANY_TEXT)
@settings(max_examples=200, deadline=None, derandomize=True)
def test_a_path_in_an_address_comes_back(path):
    address = for_uri(path)
    assert re.fullmatch(r"(?:[A-Za-z0-9\-._~/]|%[0-9A-F]{2})*", address)
    try:
        data = path.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        data = encodable(path).encode()
    assert unquote_to_bytes(address) == data


def test_bytes_of_a_name_that_are_no_utf_8_are_themselves_in_an_address():
    assert for_uri("caf\udce9/a b:c#d?.txt") == "caf%E9/a%20b%3Ac%23d%3F.txt"
    assert for_uri("\ud800") == "%5Cud800"
