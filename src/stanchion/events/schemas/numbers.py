"""The rules of numbers: what a reader's limits and steps refuse of a writer's numbers."""

from __future__ import annotations

from collections.abc import Iterator

from ..contract.schemas import Clash
from .values import divides
from .views import View, within


def numbers(w: View, r: View, path: str) -> Iterator[Clash]:
    """The clashes of limits and of `multipleOf`."""
    for name, mine, theirs, sign in (("minimum", r.lower, w.lower, 1), ("maximum", r.upper, w.upper, -1)):
        if mine is None or (theirs is not None and within(mine, theirs, sign)):
            continue
        keyword = f"exclusive{name.title()}" if mine.open else name
        verb = "added" if theirs is None else "increased" if sign > 0 else "decreased"
        known = "none" if theirs is None else f"{theirs.value:g}"
        words = f"the reader's {keyword} is {mine.value:g}, the writer's {known}"
        yield Clash(f"{name}_{verb}", f"{path}/{keyword}", words)
    whole = w.types & {"integer", "number"} == {"integer"}
    steps = [*w.multiples, *([1] if whole else [])]
    for step in r.multiples:
        if not any(divides(step, each) for each in steps):
            reason = "multiple_of_changed" if w.multiples else "multiple_of_added"
            yield Clash(reason, f"{path}/multipleOf", f"the reader takes multiples of {step:g} only")
