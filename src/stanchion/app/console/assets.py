"""Style, scripts and pictures of the console, addressed by their content so that browsers keep them for good."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from starlette.requests import Request
from starlette.responses import Response

from ...core.errors import NotFound

BASE = "/console"
_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_FOLDER = Path(__file__).parent / "static"
# The order in which styles apply; the browser gets them as one file, `console.css`.
_STYLES = (
    *("tokens", "base", "header", "page", "cards", "tables", "forms", "notices", "charts", "lineage"),
    *("gateway", "review", "pipelines", "narrow"),
)


@dataclass(frozen=True, slots=True)
class Assets:
    """All static files, in memory. One digest over all of them stands in every address.

    A digest for each file would break the relative imports between the modules.
    """

    digest: str
    files: Mapping[str, bytes]

    def url(self, name: str) -> str:
        """The address of a file. Raises KeyError for a file that does not exist."""
        if name not in self.files:
            raise KeyError(name)
        return f"{BASE}/static/{self.digest}/{name}"

    def answer(self, request: Request) -> Response:
        """The file a request asks for; kept for a year where the digest is the present one."""
        name, digest = request.path_params["name"], request.path_params["digest"]
        content = self.files.get(name)
        if content is None:
            raise NotFound(f"there is no file {name!r}")
        current = digest == self.digest
        headers = {
            "ETag": f'"{self.digest}"',
            "Cache-Control": "public, max-age=31536000, immutable" if current else "no-cache",
            "X-Content-Type-Options": "nosniff",
        }
        if request.headers.get("if-none-match") == headers["ETag"]:
            return Response(status_code=304, headers=headers)
        kind = _TYPES[Path(name).suffix]
        return Response(content, media_type=f"{kind}; charset=utf-8", headers=headers)


def load_assets(folder: Path = _FOLDER) -> Assets:
    """Read the folder once: scripts and pictures as they are, the styles joined."""
    files = {f.name: f.read_bytes() for f in sorted(folder.iterdir()) if f.suffix in _TYPES}
    files["console.css"] = b"\n".join((folder / "style" / f"{name}.css").read_bytes() for name in _STYLES)
    digest = hashlib.sha256()
    for name, content in files.items():
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return Assets(digest.hexdigest()[:16], MappingProxyType(files))
