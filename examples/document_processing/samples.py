"""Small documents, made with the standard library: a contract, an invoice, a page, a scan and a damaged file."""

from __future__ import annotations

import zipfile
from io import BytesIO
from pathlib import Path

CONTRACT = [
    "Maintenance agreement", "This contract is made on 2 March 2026 between the parties named below.",
    "The first party keeps the pumps of the second party in order for a fee of EUR 12,500.00 a year.",
    "Each party may end the contract by a notice of three months; a termination is in writing.",
    "Liability is limited to the fee of one year, and this clause outlives the agreement.",
]  # fmt: skip
INVOICE = [
    "Invoice 2026-0412", "Amount due: EUR 1,190.00, VAT of EUR 190.00 included.",
    "Payment is overdue since 2026-02-15. This is the second reminder.",
    "Total price for a quantity of four valves. Questions to billing@example.com, please.",
]  # fmt: skip
PAGE = (
    "<html><head><title>Status</title></head><body><h1>Server status</h1><p>The server is up since 4 January 2026.</p>"
    "<p>Read our privacy page on cookies before the login. A download of the log is in the menu.</p></body></html>"
)


def pdf(lines: list[str]) -> bytes:
    """One page with a line of text each; without lines a page that holds a drawing and no word."""
    shown = "".join(f"BT /F1 11 Tf 50 {780 - 18 * n} Td ({_escaped(line)}) Tj ET\n" for n, line in enumerate(lines))
    stream = (shown or "100 100 300 500 re f\n").encode("latin-1")
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>",
        b"<</Length %d>>stream\n%sendstream" % (len(stream), stream),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    made, places = BytesIO(), []
    made.write(b"%PDF-1.4\n")
    for number, each in enumerate(objects, start=1):
        places.append(made.tell())
        made.write(b"%d 0 obj%sendobj\n" % (number, each))
    start = made.tell()
    made.write(b"xref\n0 6\n0000000000 65535 f \n" + b"".join(b"%010d 00000 n \n" % place for place in places))
    made.write(b"trailer<</Size 6/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % start)
    return made.getvalue()


def _escaped(line: str) -> str:
    return line.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")


def docx(lines: list[str]) -> bytes:
    """A document of one paragraph for each line."""
    space, made = "http://schemas.openxmlformats.org", BytesIO()
    body = "".join(f"<w:p><w:r><w:t>{line}</w:t></w:r></w:p>" for line in lines)
    main = "application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{space}/package/2006/content-types"><Default Extension="rels" '
        'ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Override PartName="/word/document.xml" ContentType="{main}"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{space}/package/2006/relationships"><Relationship Id="r1" '
        f'Type="{space}/officeDocument/2006/relationships/officeDocument" Target="word/document.xml"/>'
        "</Relationships>",
        "word/document.xml": f'<w:document xmlns:w="{space}/wordprocessingml/2006/main"><w:body>{body}</w:body>'
        "</w:document>",
    }
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as file:
        for name, text in parts.items():
            file.writestr(name, text)
    return made.getvalue()


def write(folder: Path) -> list[str]:
    """Put the samples into the folder; their names."""
    folder.mkdir(parents=True, exist_ok=True)
    made = {
        "agreement.pdf": pdf(CONTRACT),
        "invoice.docx": docx(INVOICE),
        "status.html": PAGE.encode(),
        "scan.pdf": pdf([]),
        "damaged.pdf": b"%PDF-1.4 and no more",
    }
    for name, content in made.items():
        (folder / name).write_bytes(content)
    return list(made)
