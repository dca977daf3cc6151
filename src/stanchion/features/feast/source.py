"""A Feast registry as declarations in Python. Names of the registry reach the text as quoted literals only."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterator, Sequence

from .registry import FeastRegistry, FeastTransform, FeastView, Feature, Source, read

_HEAD = '''"""Features as a Feast registry declares them. Read the remarks, then change what they ask for."""

from __future__ import annotations

from datetime import datetime, timedelta

from pydantic import BaseModel

from stanchion import System
from stanchion.features import Table

app = System("features")
'''
_NO_TTL_DAYS = 3650
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def declared(content: bytes) -> str:
    """The declarations of a registry's bytes as the text of a system file. Raises MalformedRequest."""
    registry = read(content)
    names = _Names()
    usable = {view.name: view for view in registry.views if _fault(view) is None}
    lines = [_HEAD]
    for view in registry.views:
        fault = _fault(view)
        if fault is not None:
            lines.append(_remark(f"The feature view {view.name!r} is left out: {fault}."))
    handles: dict[str, str] = {}
    for source, views in _by_source(list(usable.values())):
        lines += _declarations(source, views, names, handles)
    lines += [_unported(transform) for transform in registry.transforms]
    lines += _services(registry, usable, handles)
    return "\n".join(lines).rstrip() + "\n"


class _Names:
    """Python names, each given once."""

    def __init__(self) -> None:
        self._taken = {"app", "datetime", "timedelta", "System", "Table", "BaseModel"}

    def variable(self, name: str) -> str:
        """A variable's name."""
        return self._free(re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_").lower() or "view")

    def type(self, name: str) -> str:
        """A class's name."""
        return self._free("".join(part.title() for part in re.split(r"[\W_]+", name, flags=re.ASCII)) or "Row")

    def _free(self, name: str) -> str:
        name = f"_{name}" if name[0].isdigit() else name
        while name in self._taken or keyword.iskeyword(name):
            name += "_"
        self._taken.add(name)
        return name


def _fault(view: FeastView) -> str | None:
    """Why a view has no form here."""
    if not _NAME.fullmatch(view.name):
        return "its name has other characters than A-Z a-z 0-9 . _ -"
    if len(view.keys) != 1:
        return f"it has {len(view.keys)} entities, and a view here has one"
    if not _is_field(view.keys[0].name):
        return f"its key {view.keys[0].name!r} is no name of a field"
    if not any(_is_usable(feature) for feature in view.features):
        return "none of its features has a type that is known here"
    return None


def _is_usable(feature: Feature) -> bool:
    return feature.kind is not None and _is_field(feature.name)


def _is_field(name: str) -> bool:
    return name.isascii() and name.isidentifier() and not keyword.iskeyword(name) and not name.startswith("_")


def _by_source(views: Sequence[FeastView]) -> Iterator[tuple[Source | None, Sequence[FeastView]]]:
    """Views that read the same files share a source; the others stand alone."""
    by_place: dict[tuple[str, str], list[FeastView]] = {}
    for view in views:
        if view.source is None:
            yield None, [view]
        else:
            by_place.setdefault((view.source.place, view.source.time), []).append(view)
    for shared in by_place.values():
        yield shared[0].source, shared


def _declarations(
    source: Source | None, views: Sequence[FeastView], names: _Names, handles: dict[str, str]
) -> Iterator[str]:
    handle = None
    if source is not None and _is_field(source.time):
        handle = names.variable(f"{views[0].name}_source")
        row = names.type(f"{views[0].name}_rows")
        columns: dict[str, str] = {}
        for view in views:
            columns[view.keys[0].name] = view.keys[0].kind or "str"
            columns |= {_column(view, each): f"{each.kind} | None" for each in view.features if _is_usable(each)}
        columns[source.time] = "datetime"
        yield _class(row, {name: kind for name, kind in columns.items() if _is_field(name)})
        if source.created:
            yield _remark(
                f"The column {source.created!r} says when a row was created. If that is when it became known, add it "
                "to the type and name it as `known=`: training sets then see late rows as late."
            )
        table = f"Table({source.format!r}, {source.place!r})"
        yield f"{handle} = app.source({handle!r}, {row}, time={source.time!r}, table={table})\n"
    for view in views:
        yield from _view(view, handle, names, handles)


def _view(view: FeastView, source: str | None, names: _Names, handles: dict[str, str]) -> Iterator[str]:
    row = names.type(view.name)
    kept = [each for each in view.features if _is_usable(each) and each.name != view.keys[0].name]
    yield _class(row, {each.name: f"{each.kind} | None" for each in kept})
    for each in view.features:
        if not _is_usable(each):
            yield _remark(f"The feature {each.name!r} of {view.name!r} has no type or no name that fits here.")
    if source is None:
        yield _remark(f"The rows of {view.name!r} lie in {view.kept!r}: declare a source, or push them.")
    if not view.ttl_seconds:
        yield _remark(f"{view.name!r} had no time to live; here every view has one.")
    ttl = f"timedelta(seconds={view.ttl_seconds:g})" if view.ttl_seconds else f"timedelta(days={_NO_TTL_DAYS})"
    arguments = [repr(view.name), row, f"entity={view.keys[0].name!r}", f"ttl={ttl}"]
    if source is not None:
        arguments.append(f"source={source}")
        renamed = {each.name: _column(view, each) for each in kept if _column(view, each) != each.name}
        if renamed:
            quoted = {name: '"' + column.replace('"', '""') + '"' for name, column in renamed.items()}
            arguments.append(f"select={quoted!r}")
    handles[view.name] = names.variable(view.name)
    yield f"{handles[view.name]} = app.features({', '.join(arguments)})\n"


def _column(view: FeastView, feature: Feature) -> str:
    return feature.name if view.source is None else view.source.columns.get(feature.name, feature.name)


def _unported(transform: FeastTransform) -> str:
    outputs = ", ".join(repr(each.name) for each in transform.outputs)
    reads = ", ".join(repr(name) for name in (*transform.views, *(each.name for each in transform.request)))
    return _remark(
        f"The on-demand view {transform.name!r} computes {outputs} from {reads}. Its function is a pickle, which is "
        "not opened: write it with @app.on_demand, and add it to the services that read it."
    )


def _services(registry: FeastRegistry, usable: dict[str, FeastView], handles: dict[str, str]) -> Iterator[str]:
    for service in registry.services:
        views = [name for name in service.views if name in handles]
        if missing := [name for name in service.views if name not in handles]:
            yield _remark(f"The feature service {service.name!r} also read {', '.join(map(repr, missing))}.")
        for name in views:
            wanted, has = service.views[name], [each.name for each in usable[name].features]
            if wanted and set(wanted) != set(has):
                yield _remark(
                    f"{service.name!r} took {', '.join(map(repr, wanted))} of {name!r}; here it reads the view."
                )
        if not views or not _NAME.fullmatch(service.name):
            yield _remark(f"The feature service {service.name!r} is left out.")
            continue
        name = f"{service.name}_service" if service.name in handles else service.name
        yield f"app.feature_service({name!r}, [{', '.join(handles[view] for view in views)}])\n"


def _class(name: str, fields: dict[str, str]) -> str:
    lines = [f"    {field}: {kind}" for field, kind in fields.items()]
    return "\n".join(["", f"class {name}(BaseModel):", *lines, ""]) + "\n"


def _remark(text: str) -> str:
    return f"# {text}\n"
