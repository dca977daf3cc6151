"""Whether every value that one JSON Schema admits is admitted by another, and if not, where and why.

A proof, not a search: where neither is shown, the answer is a clash called `not_provable`. Reasons are named as the
field's registries name them. Source: JSON Schema 2020-12, Core and Validation; older drafts' forms are understood.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ..contract.schemas import Clash
from .apart import apart
from .numbers import numbers
from .values import accepts, item_rule, property_rules
from .views import Document, Node, View, canonical

_STEPS = 20_000
_DEEPEST = 48
_LONGEST_TUPLE = 64


class Containment:
    """Compares a writer's document with a reader's. `lenient` is that of `Subject`."""

    def __init__(self, writer: Document, reader: Document, *, lenient: bool = False) -> None:
        self.writer = writer
        self.reader = reader
        self._lenient = lenient
        self._seen: set[tuple[str, str]] = set()
        self._steps = 0

    def clashes(self) -> list[Clash]:
        """Everything that keeps the reader from taking the writer's data; empty: it takes all of it."""
        return list(self.between(self.writer.root, self.reader.root, "#"))

    def between(self, w: Node, r: Node, path: str) -> Iterator[Clash]:
        """The clashes at one place; a pair that is being compared already is taken for good."""
        if r is True or r == {} or w is False or self.writer.same(w, self.reader, r):
            return
        key = canonical(w), canonical(r)
        if key in self._seen:
            return
        self._steps += 1
        if self._steps > _STEPS or path.count("/") > _DEEPEST:
            yield Clash("not_provable", path, "the schemas are too intricate to be compared")
            return
        before = set(self._seen)
        self._seen.add(key)
        found = list(self.views(self.writer.view(w), self.reader.view(r), path))
        if found:
            # What was found good on the way may have been so by taking this pair for good.
            self._seen = before
        yield from found

    def views(self, w: View, r: View, path: str) -> Iterator[Clash]:
        """The clashes of two views."""
        if w.never:
            return
        if r.never:
            yield Clash("type_changed", path, "the reader takes nothing here, the writer may write something")
        elif w.values is not None:
            yield from self._enumerated(w, r, path)
        elif (group := _choice(w)) is not None:
            yield from self._each_branch(w, r, group, path)
        else:
            yield from self._types(w, r, path)
            yield from self._rules(w, r, path)
            yield from self._joined(w, r, path)

    def _enumerated(self, w: View, r: View, path: str) -> Iterator[Clash]:
        for value in w.values or ():
            if accepts(self.writer, w, value) and not accepts(self.reader, r, value):
                reason, place = ("enum_array_narrowed", "/enum") if r.values is not None else ("type_narrowed", "")
                yield Clash(reason, path + place, f"data may be {_shown(value)}, which the reader refuses")

    def _each_branch(self, w: View, r: View, group: str, path: str) -> Iterator[Clash]:
        for i, parts in enumerate(self._branches(w, group)):
            for clash in self.views(self.writer.joined(parts), r, path):
                yield Clash(clash.reason, clash.path, f"{clash.message} (the writer's {group}, branch {i})")

    def _branches(self, w: View, group: str) -> Iterator[list[dict[str, Any]]]:
        """The parts that hold in each branch of the first such choice of the writer."""
        place = next(i for i, part in enumerate(w.parts) if group in part)
        rest = [{k: v for k, v in part.items() if i != place or k != group} for i, part in enumerate(w.parts)]
        branches: Sequence[Node] = w.parts[place][group]
        for i, branch in enumerate(branches):
            inner = self.writer.parts(branch)
            others = [{"not": other} for j, other in enumerate(branches) if group == "oneOf" and j != i]
            if inner is not None:
                yield [*rest, *inner, *others]

    def _types(self, w: View, r: View, path: str) -> Iterator[Clash]:
        lost = w.types - r.named
        if lost:
            reason = "type_narrowed" if w.types & r.named else "type_changed"
            words = f"data may be of type {_listed(lost)}, the reader takes {_listed(r.named)}"
            yield Clash(reason, f"{path}/type", words)

    def _rules(self, w: View, r: View, path: str) -> Iterator[Clash]:
        common = w.types & r.types
        if r.values is not None:
            yield Clash(
                "enum_array_narrowed", f"{path}/enum", "the reader takes some values only, the writer names none"
            )
        if common & {"integer", "number"}:
            yield from numbers(w, r, path)
        if "string" in common:
            yield from _sizes(w, r, path, ("minLength", "maxLength"))
            yield from _letters(w, r, path)
        if "array" in common:
            yield from self._arrays(w, r, path)
        if "object" in common:
            yield from self._objects(w, r, path)
        for rule in sorted(r.opaque - w.opaque):
            yield Clash("not_provable", path, f"the reader has a rule that cannot be compared: {rule[:120]}")

    # Unions and negations of the reader

    def _joined(self, w: View, r: View, path: str) -> Iterator[Clash]:
        for node in r.nots:
            if not self._excluded(w, node):
                yield Clash("not_type_extended", f"{path}/not", "the reader refuses what the writer may write")
        for group in r.anys:
            yield from self._into(w, group, path, "anyOf")
        for group in r.ones:
            yield from self._into(w, group, path, "oneOf")

    def _into(self, w: View, group: Sequence[Node], path: str, name: str) -> Iterator[Clash]:
        pieces = [[*w.parts, {"type": kind}] for kind in sorted(w.types)] if len(w.types) > 1 else [w.parts]
        for parts in pieces:
            piece = self.writer.joined(parts)
            found = [
                list(self.views(piece, self.reader.view(node), f"{path}/{name}/{i}")) for i, node in enumerate(group)
            ]
            fitting = [i for i, clashes in enumerate(found) if not clashes]
            if not fitting:
                if not piece.never:
                    words = f"data of type {_listed(piece.types)} fits no branch of the reader's {name}"
                    yield Clash("sum_type_narrowed", f"{path}/{name}", words)
                    yield from min(found, key=len, default=[])
            elif name == "oneOf" and not any(self._alone(piece, group, i) for i in fitting):
                words = "the writer's data may fit more than one branch of the reader's oneOf"
                yield Clash("combined_type_changed", f"{path}/{name}", words)

    def _alone(self, w: View, group: Sequence[Node], own: int) -> bool:
        return all(i == own or self._excluded(w, node) for i, node in enumerate(group))

    def _excluded(self, w: View, node: Node) -> bool:
        """Whether nothing that the writer writes can be valid by a node of the reader."""
        if apart(self.writer, w, self.reader, self.reader.view(node)):
            return True
        other = Containment(self.reader, self.writer, lenient=self._lenient)
        return any(not list(other.between(node, each, "#")) for each in w.nots)

    # Arrays and objects

    def _arrays(self, w: View, r: View, path: str) -> Iterator[Clash]:
        yield from _sizes(w, r, path, ("minItems", "maxItems"))
        if r.unique and not w.unique:
            yield Clash("unique_items_added", f"{path}/uniqueItems", "the reader refuses items that are the same")
        for rules in r.lists:
            places = max((_places(each) for each in (rules, *w.lists)), default=0)
            for i in range(min(places + 1, _LONGEST_TUPLE, w.most.get("maxItems", _LONGEST_TUPLE))):
                mine = {"allOf": [item_rule(each, i) for each in w.lists]} if w.lists else True
                where = f"{path}/prefixItems/{i}" if i < _places(rules) else f"{path}/items"
                yield from self.between(mine, item_rule(rules, i), where)

    def _objects(self, w: View, r: View, path: str) -> Iterator[Clash]:
        yield from _sizes(w, r, path, ("minProperties", "maxProperties"))
        for name in sorted(r.required - w.required):
            if not any(self.reader.view(node).default for s in r.shapes for node in property_rules(s, name)):
                words = f"the reader requires {name!r}, which data may lack"
                yield Clash("required_attribute_added", f"{path}/required", words)
        for name, needed in r.dependent.items():
            if needed - w.dependent.get(name, set()) - w.required:
                words = f"the reader requires {_listed(needed)} beside {name!r}"
                yield Clash("dependency_added", f"{path}/dependentRequired/{_step(name)}", words)
        for node in r.names:
            yield from self.between({"allOf": w.names} if w.names else True, node, f"{path}/propertyNames")
        for shape in r.shapes:
            yield from self._properties(w, shape, path)
            yield from self._others(w, shape, path)

    def _properties(self, w: View, shape: dict[str, Any], path: str) -> Iterator[Clash]:
        mine = shape.get("properties", {})
        declared = {name for s in w.shapes for name in s.get("properties", {})}
        for name in sorted(declared | set(mine)):
            theirs: list[Node] = [node for s in w.shapes for node in property_rules(s, name)]
            wanted = {"allOf": property_rules(shape, name)}
            where = f"{path}/properties/{_step(name)}"
            whole: Node = {"allOf": theirs} if theirs else True
            found = list(self.between(whole, wanted, where))
            if not found or self.writer.view(whole).never:
                continue
            if name in declared and name in mine:
                yield from found
            elif name in declared:
                yield _removed(name, where, shape, found)
            elif not self._lenient:
                # Said of the place as a whole: what is inside the new property is not the reason.
                words = f"the reader declares {name!r}; data may hold anything under that name already"
                reason = "property_added_to_open_content_model"
                if any(s.get("additionalProperties", True) not in (True, {}) for s in w.shapes):
                    reason = "property_added_not_covered_by_partially_open_content_model"
                yield Clash(reason, where, words)

    def _others(self, w: View, shape: dict[str, Any], path: str) -> Iterator[Clash]:
        """What neither side declares by name: patterns, and all the rest."""
        rest = {"allOf": [s.get("additionalProperties", True) for s in w.shapes]} if w.shapes else True
        mine = shape.get("patternProperties", {})
        theirs = {k: v for s in w.shapes for k, v in s.get("patternProperties", {}).items()}
        for pattern, node in mine.items():
            where = f"{path}/patternProperties/{_step(pattern)}"
            sources = [theirs[pattern]] if pattern in theirs else [rest, *theirs.values()]
            for source in sources:
                yield from self.between(source, node, where)
        further = shape.get("additionalProperties", True)
        where = f"{path}/additionalProperties"
        for pattern, node in theirs.items():
            if pattern not in mine:
                yield from self.between(node, further, where)
        for clash in self.between(rest, further, where):
            reason = "additional_properties_removed" if further is False else "additional_properties_narrowed"
            yield Clash(reason, clash.path, f"data may hold undeclared properties: {clash.message}")


def _removed(name: str, where: str, shape: dict[str, Any], found: Sequence[Clash]) -> Clash:
    if shape.get("additionalProperties", True) is False:
        words = f"data may hold {name!r}, and the reader refuses what it does not declare"
        return Clash("property_removed_from_closed_content_model", where, words)
    words = f"data may hold {name!r} otherwise than the reader admits: {found[0].message}"
    return Clash("property_removed_not_covered_by_partially_open_content_model", where, words)


def _choice(w: View) -> str | None:
    return "oneOf" if w.ones else "anyOf" if w.anys else None


def _sizes(w: View, r: View, path: str, keywords: tuple[str, str]) -> Iterator[Clash]:
    least, most = keywords
    if r.least.get(least, 0) > w.least.get(least, 0):
        words = f"the reader wants at least {r.least[least]}, the writer {w.least.get(least, 0)}"
        yield Clash(f"{_snake(least)}_{'increased' if least in w.least else 'added'}", f"{path}/{least}", words)
    if most in r.most and r.most[most] < w.most.get(most, r.most[most] + 1):
        words = f"the reader takes at most {r.most[most]}, the writer writes up to {w.most.get(most, 'any number')}"
        yield Clash(f"{_snake(most)}_{'decreased' if most in w.most else 'added'}", f"{path}/{most}", words)


def _letters(w: View, r: View, path: str) -> Iterator[Clash]:
    for name, mine, theirs in (("pattern", r.patterns, w.patterns), ("format", r.formats, w.formats)):
        for rule in sorted(mine - theirs):
            verb = "changed" if theirs else "added"
            yield Clash(
                f"{name}_{verb}", f"{path}/{name}", f"the reader takes {rule!r} only, the writer does not keep to it"
            )


def _places(rules: dict[str, Any]) -> int:
    items = rules.get("items")
    return len(items) if isinstance(items, list) else len(rules.get("prefixItems", ()))


def _listed(names: Sequence[str] | frozenset[str] | set[str]) -> str:
    plain = {"number"} | set(names) - {"integer"} if "number" in names else set(names)
    return ", ".join(sorted(plain)) or "nothing"


def _shown(value: Any) -> str:
    text = canonical(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _step(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def _snake(keyword: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in keyword)
