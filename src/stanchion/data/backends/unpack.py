"""Reads an empty page, so that the parser unpacks its PDF library into the folder that TMPDIR names.

A program of its own, run once before the first PDF: the processes that read documents may write no file.
"""

from __future__ import annotations

import resource
import sys
from typing import Any

LARGEST = 64 << 20
PAGE = (
    b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n"
    b"3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]>>endobj\ntrailer<</Root 1 0 R>>\n"
)


def main() -> None:
    """Exit with 0 if PDFs can be read from now on, else with what is in the way."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST, LARGEST))
    from kreuzberg import ExtractionConfig, KreuzbergError, extract_bytes_sync

    settings: Any = ExtractionConfig  # its types lack an argument that it has
    try:
        extract_bytes_sync(PAGE, "application/pdf", config=settings(use_cache=False, disable_ocr=True))
    except KreuzbergError as error:
        sys.exit(str(error)[:300])


if __name__ == "__main__":
    main()
