"""Model cards as HTML, from a small part of Markdown.

Cards are written by whoever registers a model, so nothing of them is believed: every character is escaped,
there is no raw HTML and no picture, and a link shows its address as text instead of leading there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from markupsafe import Markup, escape

_HEADING = re.compile(r"(#{1,6})\s+(.*?)\s*#*")
_ITEM = re.compile(r"\s*(?:[-*+]|(\d{1,6})[.)])\s+(.*)")
_RULE = re.compile(r"\|?\s*:?-+:?\s*(?:\|\s*:?-+:?\s*)*\|?")
_INLINE = re.compile(r"`([^`]+)`|\*\*([^*]+)\*\*|!?\[([^\]]*)\]\(([^)\s]*)\)")
_MOST_CHARACTERS = 100_000
_MOST_ROWS = 40
# The page has h1 and h2 of its own; a card's headings start below them.
_SHIFT = 2


def render(text: str) -> Markup:
    """The card as HTML; what passes 100,000 characters, or 40 rows in all its tables, is left out."""
    lines = text[:_MOST_CHARACTERS].replace("\r\n", "\n").split("\n")
    return Markup("\n").join(_blocks(lines))


def tables(text: str) -> Iterator[list[list[str]]]:
    """The cells of each table of the card, its head first."""
    lines = text[:_MOST_CHARACTERS].replace("\r\n", "\n").split("\n")
    for at in range(len(lines)):
        if _starts_table(lines, at):
            yield [_cells(lines[at]), *(_cells(line) for line in lines[at + 2 : _table_end(lines, at)])]


def _blocks(lines: list[str]) -> Iterator[Markup]:
    at, rows_left = 0, _MOST_ROWS
    while at < len(lines):
        line = lines[at]
        if not line.strip():
            at += 1
        elif line.lstrip().startswith("```"):
            at, block = _code(lines, at)
            yield block
        elif match := _HEADING.fullmatch(line):
            level = min(len(match[1]) + _SHIFT, 6)
            yield Markup("<h{0}>{1}</h{0}>").format(level, _inline(match[2]))
            at += 1
        elif _starts_table(lines, at):
            end = _table_end(lines, at)
            yield _table(lines[at:end], rows_left)
            rows_left = max(0, rows_left - (end - at - 2))
            at = end
        elif _ITEM.fullmatch(line):
            at, block = _list(lines, at)
            yield block
        else:
            at, block = _paragraph(lines, at)
            yield block


def _inline(text: str) -> Markup:
    """Code, bold and links inside a line; all else is plain text."""
    out, end = Markup(""), 0
    for match in _INLINE.finditer(text):
        out += escape(text[end : match.start()])
        code, bold, label, address = match.groups()
        if code is not None:
            out += Markup("<code>") + escape(code) + Markup("</code>")
        elif bold is not None:
            out += Markup("<strong>") + escape(bold) + Markup("</strong>")
        else:
            out += escape(label) + Markup(" <code>") + escape(address) + Markup("</code>")
        end = match.end()
    return out + escape(text[end:])


def _code(lines: list[str], at: int) -> tuple[int, Markup]:
    end = at + 1
    while end < len(lines) and not lines[end].lstrip().startswith("```"):
        end += 1
    body = escape("\n".join(lines[at + 1 : end]))
    return end + 1, Markup('<pre tabindex="0"><code>') + body + Markup("</code></pre>")


def _paragraph(lines: list[str], at: int) -> tuple[int, Markup]:
    end = at + 1
    while end < len(lines) and lines[end].strip() and not _starts_block(lines, end):
        end += 1
    return end, Markup("<p>") + _inline(" ".join(line.strip() for line in lines[at:end])) + Markup("</p>")


def _starts_block(lines: list[str], at: int) -> bool:
    line = lines[at]
    fenced = line.lstrip().startswith("```")
    return fenced or bool(_HEADING.fullmatch(line) or _ITEM.fullmatch(line)) or _starts_table(lines, at)


def _list(lines: list[str], at: int) -> tuple[int, Markup]:
    first = _ITEM.fullmatch(lines[at])
    tag = "ol" if first is not None and first[1] is not None else "ul"
    items: list[str] = []
    while at < len(lines) and lines[at].strip():
        match = _ITEM.fullmatch(lines[at])
        if match is None and _starts_block(lines, at):
            break
        if match is not None:
            items.append(match[2])
        else:
            items[-1] += " " + lines[at].strip()
        at += 1
    body = Markup("").join(Markup("<li>") + _inline(item) + Markup("</li>") for item in items)
    return at, Markup("<{0}>{1}</{0}>").format(tag, body)


def _starts_table(lines: list[str], at: int) -> bool:
    return (
        "|" in lines[at]
        and at + 1 < len(lines)
        and "|" in lines[at + 1]
        and bool(_RULE.fullmatch(lines[at + 1].strip()))
    )


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def _table_end(lines: list[str], at: int) -> int:
    end = at + 2
    while end < len(lines) and "|" in lines[end]:
        end += 1
    return end


def _table(lines: list[str], most: int) -> Markup:
    head = _cells(lines[0])
    top = Markup("").join(Markup('<th scope="col">') + _inline(cell) + Markup("</th>") for cell in head)
    rows = Markup("").join(_row(_cells(line), len(head)) for line in lines[2 : 2 + most])
    opening = Markup('<div class="scroll" role="region" aria-label="Table of the card" tabindex="0"><table><thead><tr>')
    return opening + top + Markup("</tr></thead><tbody>") + rows + Markup("</tbody></table></div>")


def _row(cells: list[str], width: int) -> Markup:
    filled = (cells + [""] * width)[:width]
    body = Markup("").join(Markup("<td>") + _inline(cell) + Markup("</td>") for cell in filled)
    return Markup("<tr>") + body + Markup("</tr>")
