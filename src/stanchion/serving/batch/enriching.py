"""Checked rows with their looked-up features, by the model's declared policy for what is stale or unknown.

What may not be used in silence is quarantined with the reason, replaced by the declared defaults, or left to the rule
and the default, which read no features: the same that a single request would get.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import pydantic

from ...core.context import Context
from ...core.values import Json
from ...features import Features
from .checking import Admitted
from .joining import Joiner, Known, Row
from .lookups import Wanted
from .moments import check_kind, moments
from .scoring import Scored, Scorer

if TYPE_CHECKING:
    import numpy

SERVED_BY = "served_by"


class _Left(NamedTuple):
    """Why a row is left to the rungs that read no features."""

    reason: str


@dataclass(frozen=True, slots=True)
class Fallen:
    """A row that the model does not see: its place in the piece, the rung that answered, and with what."""

    place: int
    rung: str
    outcome: Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class Enriched:
    """`admitted` has every column that the model reads; the `fallen` rows are none of its sound ones."""

    admitted: Admitted
    fallen: Sequence[Fallen]


class Enricher:
    """Completes the pieces of one job. Its own `checker` asks for none of the features that are looked up."""

    def __init__(self, wanted: Wanted, scorer: Scorer, features: Features, tenant: str) -> None:
        self.wanted = wanted
        self.checker = scorer.checker_without(wanted.names)
        self._scorer = scorer
        self._joiner = Joiner(wanted, features, tenant)

    @property
    def taken(self) -> Sequence[str]:
        """Names that the output has beside those of the model: where rows may fall, what answered for each."""
        return [SERVED_BY] if self.wanted.falls else []

    async def enriched(self, admitted: Admitted) -> Enriched:
        """The piece with its features. Raises what the feature store raises."""
        rows, wrong = self._rows(admitted)
        sound = [place for place in admitted.sound.tolist() if place not in wrong]
        known = dict(zip(sound, await self._joiner.known([rows[place] for place in sound]), strict=True))
        kept: dict[int, Mapping[str, Any]] = {}
        left: dict[int, str] = {}
        for place, each in known.items():
            made = self._judged(each) if isinstance(each, Known) else each
            if isinstance(made, str):
                wrong[place] = made
            elif isinstance(made, _Left):
                left[place] = made.reason
            else:
                kept[place] = made
        fallen, unanswered = self._fallen(admitted, left)
        return Enriched(self._completed(admitted, kept, {**wrong, **unanswered}), fallen)

    def _rows(self, admitted: Admitted) -> tuple[dict[int, Row], dict[int, str]]:
        """The sound rows as they are looked up, by place, and what is wrong with the moments of others."""
        table, places, time = admitted.piece.table, admitted.sound.tolist(), self.wanted.time
        values = dict(zip(places, self.checker.values(table, self._joiner.fields, places), strict=True))
        if not time:
            return {place: Row(values[place]) for place in places}, {}
        check_kind(time, table.schema.field(time).type)
        found = moments(time, table.column(time))
        wrong = {place: at for place in places if isinstance(at := found[place], str)}
        return {p: Row(values[p], at) for p in places if isinstance(at := found[p], int)}, wrong

    def _judged(self, known: Known) -> Mapping[str, Any] | str | _Left:
        """The values to use; what is wrong with the row; or why it is left to the rungs that read no features."""
        lookup, left = self.wanted.lookup, ""
        absent = {view: known.status[view] for view in self.wanted.views if known.status[view] != "present"}
        for view, said in absent.items():
            policy = lookup.stale if said == "stale" else lookup.unknown
            if policy == "error":
                return f"{next(iter(lookup.entities.values()))}: The features of {view} are {said}"
            if policy == "next_rung":
                left = f"the features of {view} are {said}"
        if left:
            return _Left(left)
        values = {name: known.values.get(name) for name in self.wanted.names}
        if not absent:
            return values
        return {name: lookup.defaults.get(name) if value is None else value for name, value in values.items()}

    # Rows that the model does not see

    def _fallen(self, admitted: Admitted, left: Mapping[int, str]) -> tuple[list[Fallen], dict[int, str]]:
        """What the rule and the default say of the rows, and those that neither has an answer for."""
        spec = self.wanted.spec
        reads = {} if spec.function is None else dict.fromkeys(self.wanted.lookup.fields)
        fallen, unanswered = [], {}
        table = admitted.piece.table
        names = [name for name in table.column_names if name in self.checker.names]
        for place, given in zip(left, self.checker.values(table, names, list(left)), strict=True):
            outcome, rung = None, "rule"
            if spec.rule is not None:
                outcome = _ruled(spec.rule, spec.input, given, reads)
            if outcome is None:
                outcome, rung = spec.default, "default"
            if outcome is None:
                unanswered[place] = f"{left[place]}, and no rung without features answers"
            else:
                fallen.append(Fallen(place, rung, outcome.model_dump(mode="json")))
        return fallen, unanswered

    # The rows that it sees

    def _completed(
        self, admitted: Admitted, kept: Mapping[int, Mapping[str, Any]], wrong: Mapping[int, str]
    ) -> Admitted:
        bad = {**dict(zip(admitted.bad, admitted.reasons, strict=True)), **wrong}
        matrix, instances = admitted.matrix, admitted.instances
        if self.wanted.spec.function is not None:
            typed, misfits = self._typed(admitted, kept)
            kept = {place: kept[place] for place in typed}
            instances, bad = list(typed.values()), bad | misfits
        else:
            matrix, misfits = self._matrix(admitted, kept)
            kept = {place: each for place, each in kept.items() if place not in misfits}
            bad |= misfits
        return replace(
            admitted,
            sound=_places(list(kept)),
            matrix=matrix,
            instances=instances,
            bad=sorted(bad),
            reasons=[bad[place] for place in sorted(bad)],
        )

    def _typed(
        self, admitted: Admitted, kept: Mapping[int, Mapping[str, Any]]
    ) -> tuple[dict[int, Any], dict[int, str]]:
        """Instances of a function, tried with their features: what the declared type refuses is no prediction."""
        typed, wrong = {}, {}
        for place, instance in zip(admitted.sound.tolist(), admitted.instances, strict=True):
            if place not in kept:
                continue
            whole = {**instance, **kept[place]}
            try:
                self.wanted.spec.input.model_validate(whole)
                typed[place] = whole
            except pydantic.ValidationError as error:
                told = error.errors(include_url=False, include_context=False, include_input=False)[0]
                wrong[place] = f"{'.'.join(map(str, told['loc']))}: {told['msg']}"
        return typed, wrong

    def _matrix(
        self, admitted: Admitted, kept: Mapping[int, Mapping[str, Any]]
    ) -> tuple[numpy.ndarray[Any, Any], dict[int, str]]:
        """The rows as a graph reads them, the looked-up columns at their places."""
        import numpy

        wrong: dict[int, str] = {}
        columns = {}
        for column in self._scorer.checker.columns:
            if column.name in self.wanted.names:
                codes = {value: float(code) for code, value in enumerate(column.categories)}
                given = {place: values[column.name] for place, values in kept.items()}
                columns[column.name] = [
                    _number(column.name, value, codes, place, wrong) for place, value in given.items()
                ]
        own = {place: row for row, place in enumerate(admitted.sound.tolist())}
        taken = admitted.matrix[[own[place] for place in kept]]
        whole = numpy.empty((len(kept), len(self._scorer.checker.columns)), dtype=numpy.float32)
        mine = iter(range(taken.shape[1]))
        for at, column in enumerate(self._scorer.checker.columns):
            found = columns.get(column.name)
            whole[:, at] = taken[:, next(mine)] if found is None else found
        return whole[[place not in wrong for place in kept]], wrong

    async def score(self, ctx: Context, enriched: Enriched) -> tuple[Admitted, Scored]:
        """Predictions of all rows that have any, in the order of the piece, with what answered for each."""
        scored = await self._scorer.score(ctx, enriched.admitted)
        if not self.wanted.falls:
            return enriched.admitted, scored
        import numpy
        import pyarrow

        fallen = enriched.fallen
        more = self._scorer.told([each.outcome for each in fallen])
        sound = numpy.concatenate([enriched.admitted.sound, _places([each.place for each in fallen])])
        order = pyarrow.array(numpy.argsort(sound, kind="stable"))
        rungs = ["primary"] * len(enriched.admitted.sound) + [each.rung for each in fallen]
        whole = scored.joined(more).taken(order)
        columns = {**whole.columns, SERVED_BY: pyarrow.array(rungs, pyarrow.string()).take(order)}
        return replace(enriched.admitted, sound=numpy.sort(sound)), replace(whole, columns=columns)


def _ruled(rule: Any, kind: type[pydantic.BaseModel], given: Mapping[str, Any], reads: Mapping[str, None]) -> Any:
    """The rule's outcome; None where it has none or fails, as a rung that fails is passed over."""
    try:
        # Without its features an instance of a function is none of the declared type, but its rule may look at it.
        return rule(kind.model_construct(**{**given, **reads}) if reads else kind.model_validate(given))
    except Exception:
        return None


def _number(name: str, value: Any, codes: Mapping[str, float], place: int, wrong: dict[int, str]) -> float:
    if codes:
        if value not in codes:
            wrong[place] = f"{name}: The looked-up feature has a value that the graph does not know"
        return codes.get(value, 0.0)
    if value is None:
        return float("nan")
    if not isinstance(value, int | float):
        wrong[place] = f"{name}: The looked-up feature is no number"
        return 0.0
    return float(value)


def _places(places: Sequence[int]) -> Any:
    import numpy

    return numpy.array(places, dtype=numpy.int64)
