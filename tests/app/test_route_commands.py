"""`stanchion gateway history` and `restore`, by the real command on a stored system."""

from __future__ import annotations

import json
from pathlib import Path

from stanchion.app.commands.office import Options, opened, operator
from stanchion.gateway import Gateway, RouteSpec
from tests.app.test_cascade_commands import command

SYSTEM = """
from stanchion import System

app = System("desk")
here = app.upstream("here", kind="builtin")
for name in {models}:
    app.language_model(name, upstream=here)
app.route("task", primary="small")
"""


async def test_a_route_is_looked_at_tried_dry_and_brought_back(tmp_path: Path) -> None:
    file, data = tmp_path / "system.py", tmp_path / "data"
    file.write_text(SYSTEM.format(models=("small", "large")))
    async with opened(Options(data=data), file=file, only=("gateway",)) as house:
        await house.start()
        gateway, ctx = house.door(Gateway), operator(house.settings.tenant)
        await gateway.put_route(ctx, "task", RouteSpec(name="task", primary="large"), version=0)
        await gateway.put_route(ctx, "task", RouteSpec(name="task", primary="small", attempts=3), version=1)

    async def run(*arguments: str) -> tuple[int, str, str]:
        name, *rest = arguments
        return await command("gateway", name, "system.py", "task", *rest, "--data", "data", cwd=tmp_path)

    code, out, err = await run("history")
    assert code == 0, err
    lines = out.splitlines()
    assert lines[0].split() == ["VERSION", "CHANGED", "BY", "WHAT"]
    assert "primary: large > small; attempts: 1 > 3" in lines[1]
    assert lines[1].endswith("holds")
    assert "primary: small > large" in lines[2]
    assert "as declared" in lines[3]
    code, out, err = await run("restore", "1", "--dry-run")
    assert (code, out.splitlines()) == (0, ["primary: small > large", "attempts: 3 > 1"]), err
    assert json.loads((await run("history", "--json"))[1])[0]["version"] == 2
    code, out, err = await run("restore", "1", "--json")
    assert (code, json.loads(out)["version"]) == (0, 3), err
    assert "took" not in (await run("history"))[1]
    code, _, err = await run("restore", "9")
    assert (code, "no version 9" in err) == (2, True), err
    file.write_text(SYSTEM.format(models=("small",)))
    code, _, err = await run("restore", "1", "--dry-run")
    assert (code, "unknown model 'large'" in err) == (2, True), err
    code, _, err = await run("restore", "1")
    assert (code, "unknown model 'large'" in err) == (2, True), err
    code, _, err = await run("restore", "0")
    assert (code, "no route 'task' was put" in err) == (2, True), "its model is gone, so the declared one holds already"
    file.write_text(SYSTEM.format(models=("small", "large")))
    code, out, err = await run("restore", "0")
    assert (code, "as declared" in out) == (0, True), err
