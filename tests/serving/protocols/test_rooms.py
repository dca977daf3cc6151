"""Protocols are routes by another name: of serving they see the contract, and what every route shares."""

from __future__ import annotations

import ast
from pathlib import Path

import stanchion.serving.protocols as protocols

ROOM = Path(protocols.__file__).parent
MAY = {"contract", "answers"}


def test_protocols_see_the_contract_and_no_room_behind_it() -> None:
    seen = set()
    for path in ROOM.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level == 2:
                seen.add((node.module or "").partition(".")[0])
            assert not (isinstance(node, ast.ImportFrom) and node.level == 4)
    assert seen <= MAY
