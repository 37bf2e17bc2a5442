"""Making strings from outside safe for the place where they are shown. Standard library only."""

import html
import re
from urllib.parse import quote

# Spreadsheets take a cell that starts with one of these as a formula.
FORMULA_STARTS = "=+-@\t\r\n＝＋－＠"

INVISIBLE = frozenset(
    chr(c)
    for first, last in (
        (0x34F, 0x34F),
        (0x115F, 0x1160),
        (0x17B4, 0x17B5),
        (0x180B, 0x180F),
        (0x3164, 0x3164),
        (0xFE00, 0xFE0F),
        (0xFFA0, 0xFFA0),
        (0xE0100, 0xE01EF),
    )
    for c in range(first, last + 1)
)

# Markup, links, mentions and line structure of Markdown all begin or end with one of these.
MARKDOWN_ACTIVE = "!#$%&*+-./:<=>@[\\]^_`{|}~"
# Sites look for mentions, references, addresses and emoji in the text that is left after entities are resolved, so
# an entity alone hides nothing from them. A zero-width space, which shows nothing, breaks the word that they look for.
FOUND_AFTER_RENDERING = re.compile(
    r"(?<=[@#!$%&~])(?=\w)"  # mentions, addresses, numbers of issues and their like
    r"|(?<=:)(?=//|[\w+-]+:)"  # addresses of pages, emoji
    r"|(?<=www)(?=\.)|(?<=gh-)(?=\d)",
    re.IGNORECASE,
)
BREAK = "\u200b"
MARKDOWN_ENTITIES = str.maketrans({c: f"&#{ord(c)};" for c in MARKDOWN_ACTIVE + BREAK})
# A message of SARIF takes links in brackets and placeholders in braces (2.1.0, 3.11.5 and 3.11.6).
SARIF_ESCAPES = str.maketrans({"\\": "\\\\", "[": "\\[", "]": "\\]", "{": "{{", "}": "}}"})


def for_terminal(text: str) -> str:
    """The text with every character that a terminal could act on, or that shows nothing, as a visible escape.

    Control and format characters (bidirectional overrides among them), separators other than the space, surrogates
    and unassigned code points are replaced; the rest is printable and stays.
    """
    return "".join(c if c.isprintable() and c not in INVISIBLE else _escape(c) for c in text)


def for_csv(text: str) -> str:
    """A text cell that no spreadsheet takes for a formula, and that any UTF-8 file can hold."""
    text = encodable(text)
    shown = "".join(c for c in text if c.isprintable() and not c.isspace()).lstrip("\"'")
    risky = shown.startswith(tuple(FORMULA_STARTS)) or text.startswith(("\t", "\r", "\n")) or "\0" in text
    return "'" + text if risky else text


def for_markdown(text: str) -> str:
    """The text for a cell of a GitHub-flavoured Markdown table: one line in which nothing is markup.

    It reads as `for_terminal` shows it. Links, autolinks, mentions, references, emoji and mathematics stay text.
    """
    return FOUND_AFTER_RENDERING.sub(BREAK, for_terminal(text)).translate(MARKDOWN_ENTITIES)


def for_xml(text: str) -> str:
    """The text for an attribute or element of XML 1.0: visible escapes for what has no place there, then entities."""
    # What a terminal must not get, XML must not either, or would normalize, as it does with line ends.
    return html.escape(for_terminal(text))


def for_sarif(text: str) -> str:
    """The text for a message of SARIF: one line, as `for_terminal` shows it, without links and placeholders."""
    return for_terminal(text).translate(SARIF_ESCAPES)


def for_uri(path: str) -> str:
    """A POSIX path as the path of a relative URI: all but RFC 3986's unreserved characters and "/" per cent.

    Bytes of a file's name that are no UTF-8, which Python holds as surrogates, become themselves again.
    """
    try:
        data = path.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        data = encodable(path).encode()
    return quote(data)


def encodable(text: str) -> str:
    """The text with lone surrogates, which UTF-8 cannot hold, as visible escapes."""
    return "".join(_escape(c) if "\ud800" <= c <= "\udfff" else c for c in text)


def _escape(character: str) -> str:
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
