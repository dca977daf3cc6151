"""Pictures and files inside requests: data URLs apart and together."""

from __future__ import annotations

import re

from .conversation import Document, Image
from .reading import wrong

_DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+)(?:;[\w-]+=[\w.+-]+)*;base64,", re.ASCII)


def data_url(media_type: str, data: str) -> str:
    """A data URL of base64 text."""
    return f"data:{media_type};base64,{data}"


def image_of(url: str, detail: str, path: str) -> Image:
    """A picture by its URL or data URL. Raises InvalidInput for a URL of another scheme."""
    if found := _DATA_URL.match(url):
        return Image(data=url[found.end() :], media_type=found[1], detail=detail)
    if not url.startswith(("https://", "http://")):
        raise wrong(path, "Expected an http(s) URL, or a data URL in base64")
    return Image(url=url, detail=detail)


def url_of(image: Image) -> str:
    """The picture's URL, a data URL where its bytes are at hand."""
    return image.url or data_url(image.media_type, image.data)


def document_of(url: str, name: str, path: str) -> Document:
    """A file by its data URL. Raises InvalidInput for anything else."""
    found = _DATA_URL.match(url)
    if found is None:
        raise wrong(path, "Expected a data URL in base64")
    return Document(data=url[found.end() :], media_type=found[1], name=name)
