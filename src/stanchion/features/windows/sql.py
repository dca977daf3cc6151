"""The offline side of windows and newest rows: SQL that gives, for each row of a spine, what was true at its time.

The relation `rows` has k (key), a (event time), w (known), e (event), p0.. (the plan's plain fields) and c0.. (its
columns); `spine` has r (position), k and t (time). All times are BIGINT microseconds.
"""

from __future__ import annotations

from typing import assert_never

from .definition import LARGEST, scaled_sql, unscaled_sql
from .plan import Kind, Measure, Plan, quoted

_SHIFT = 1 << 61
"""Added before a division, which truncates in SQL: so it floors for moments before 1970 too."""


def select(what: str, rows: str, *rest: str) -> str:
    """A query: what, from which relation, and the clauses behind it."""
    return " ".join(["SELECT", what, "FROM", rows, *rest])


def several(rows: str) -> str:
    """The keys and event times (k, a) of which there are several rows."""
    return select("k, a", rows, "GROUP BY k, a HAVING count(*) > 1")


def newest(plan: Plan, rows: str, *, late: bool, repeated: str | None) -> str:
    """The rows that are ever the newest of their key, each from `v` on.

    `late` honours when rows became known; otherwise only event times count. `repeated` is the relation of the keys and
    event times (k, a) that have several rows, None if none has: then every row is the newest from its event time on.
    """
    plain = [f"p{i}" for i in range(len(plan.plain))]
    kept = ", ".join(["k", "a", *plain])
    if late:
        # A row is the newest from when it has happened and is known, unless a later event was known before it was.
        order = ", ".join(["v", "a", "w", "e", *(f"{p} NULLS FIRST" for p in plain)])
        return select(
            f"{kept}, v",
            f"({select('*, greatest(a, w) AS v', rows)})",
            f"WINDOW o AS (PARTITION BY k ORDER BY {order})",
            "QUALIFY a >= max(a) OVER o AND lead(v) OVER o IS DISTINCT FROM v",
        )
    if repeated is None:
        return select(f"{kept}, a AS v", rows)
    # Only what is repeated is sorted by versions: to sort all rows costs as much as the join itself.
    order = ", ".join(["w DESC", "e DESC", *(f"{p} DESC NULLS LAST" for p in plain)])
    chosen = f"QUALIFY row_number() OVER (PARTITION BY k, a ORDER BY {order}) = 1"
    alone = select(f"{kept}, a AS v", rows, f"ANTI JOIN {repeated} USING (k, a)")
    return f"{alone} UNION ALL {select(f'{kept}, a AS v', rows, f'SEMI JOIN {repeated} USING (k, a)', chosen)}"


def windows(plan: Plan, rows: str, spine: str, *, late: bool, repeated: str | None) -> str:
    """For each row of the spine with events in a window: r, n (events in the longest) and the aggregates m0, m1 ..."""
    far = ", ".join(f"{group.far_end_sql('t')} AS f{i}" for i, group in enumerate(plan.groups))
    ends = ", ".join(f"f{i}" for i in range(len(plan.groups)))
    # Events and spine meet by key and by a stretch of time as long as the longest window: few pairs are made in vain.
    stretch = max(group.width + group.hop for group in plan.groups)
    reached = select(f"*, least({ends}) AS z", f"({select(f'r, k, t, {far}', spine)})")
    stretches = f"range({_floor('z', stretch)}, {_floor('t', stretch)} + 1)"
    events_stretch = _floor("a", stretch)
    made = ", ".join(
        f"{_aggregate(measure, f'FILTER (WHERE x.a >= s.f{i})')} AS {_name(plan, measure)}"
        for i, group in enumerate(plan.groups)
        for measure in group.measures
    )
    return select(
        f"s.r AS r, count(*) AS n, {made}",
        f"({select(f'*, unnest({stretches}) AS b', f'({reached})')}) s",
        f"JOIN ({select(f'*, {events_stretch} AS b', f'({_versions(plan, rows, late=late, repeated=repeated)})')}) x",
        "ON s.k = x.k AND s.b = x.b AND x.a BETWEEN s.z AND s.t",
        "AND x.v <= s.t AND (x.gone IS NULL OR x.gone > s.t)" if late else "",
        "GROUP BY s.r",
    )


def joined(
    plan: Plan, newest: str, windows: str | None, alias: str, key: str, *, status: bool = False
) -> tuple[str, list[str]]:
    """The joins that add a view to a spine `s`, and what they give: each of the plan's fields, then `present`.

    `alias` sets the view's relations apart from those of others, `key` is the spine's key. With `status` the view's
    status stands behind all: the rows must then reach as far back as `Plan.memory` says.
    """
    head, sums = f"{alias}h", f"{alias}w"
    joins = f"ASOF LEFT JOIN ({newest}) {head} ON {key} = {head}.k AND s.t >= {head}.v"
    present = f"coalesce({head}.a >= s.t - {plan.ttl}, false)"
    if windows is not None:
        joins += f" LEFT JOIN ({windows}) {sums} ON s.r = {sums}.r"
        present += f" AND coalesce({sums}.n, 0) <= {plan.limit}"
    made = {column.name: _told(column.kind, f"{head}.p{i}") for i, column in enumerate(plan.plain)}
    for group in plan.groups:
        made.update({measure.field: _filled(plan, measure, sums) for measure in group.measures})
    fields = [f"CASE WHEN {present} THEN {made[field]} END AS {quoted(field)}" for field in plan.fields]
    told = [f"{_status(plan, head, present)} AS status"] if status else []
    return joins, [*fields, f"{present} AS present", *told]


def _status(plan: Plan, head: str, present: str) -> str:
    """What the view says of a row, as it does online: within the ttl and yet not present, it has too many events."""
    stale = f"WHEN {head}.a < s.t - {plan.ttl} AND {head}.a >= s.t - {plan.memory} THEN 'stale'"
    return f"CASE WHEN {present} THEN 'present' {stale} ELSE 'unknown' END"


def _versions(plan: Plan, rows: str, *, late: bool, repeated: str | None) -> str:
    """Events, each in the version known last; or all versions with the time for which each was the last."""
    columns = [f"c{i}" for i in range(len(plan.columns))]
    sums = {m.column: m for group in plan.groups for m in group.measures if m.function in ("sum", "mean")}
    parts = [f"{_parts(measure)} AS s{column}" for column, measure in sums.items()]
    kept = ", ".join(["k", "a", *columns, *parts])
    if late:
        order = ", ".join(["w", *(f"{c} NULLS FIRST" for c in columns)])
        return select(
            f"{kept}, v, lead(v) OVER (PARTITION BY k, a, e ORDER BY {order}) AS gone",
            f"({select('*, greatest(a, w) AS v', rows)})",
        )
    if repeated is None:
        return select(kept, rows)
    order = ", ".join(["w DESC", *(f"{c} DESC NULLS LAST" for c in columns)])
    return select(kept, rows, f"QUALIFY row_number() OVER (PARTITION BY k, a, e ORDER BY {order}) = 1")


def _parts(measure: Measure) -> str:
    column = f"c{measure.column}"
    exact = f"{column}::HUGEINT" if measure.kind == "int" else scaled_sql(column)
    said = f"'{measure.field} is over a column with a number above 2^53'"
    return f"CASE WHEN {column} IS NULL THEN NULL WHEN abs({column}) > {LARGEST} THEN error({said}) ELSE {exact} END"


def _aggregate(measure: Measure, chosen: str) -> str:
    column = f"x.c{measure.column}"
    match measure.function:
        case "count":
            return f"count({'*' if measure.column is None else column}) {chosen}"
        case "sum":
            return f"sum(x.s{measure.column}) {chosen}"
        case "mean":
            total = _exact(measure, f"sum(x.s{measure.column}) {chosen}")
            return f"{total}::DOUBLE / nullif(count({column}) {chosen}, 0)"
        case "min" | "max":
            return f"{measure.function}({column}) {chosen}"
        case "distinct":
            return f"count(DISTINCT {column}) {chosen}"
        case _:
            assert_never(measure.function)


def _filled(plan: Plan, measure: Measure, sums: str) -> str:
    found = f"{sums}.{_name(plan, measure)}"
    if measure.function in ("mean", "min", "max"):
        return f"{found}::DOUBLE" if measure.gives == "float" else _told(measure.gives, found)
    if measure.function == "sum":
        found = _exact(measure, f"coalesce({found}, 0)")
    return f"coalesce({found}, 0)::{'DOUBLE' if measure.gives == 'float' else 'BIGINT'}"


def _exact(measure: Measure, total: str) -> str:
    return f"({total})::BIGINT" if measure.kind == "int" else unscaled_sql(f"({total})")


def _name(plan: Plan, measure: Measure) -> str:
    measures = [each for group in plan.groups for each in group.measures]
    return f"m{measures.index(measure)}"


def _told(kind: Kind, value: str) -> str:
    """A value as readers of a training set get it."""
    return f"make_timestamptz({value})" if kind == "moment" else value


def _floor(value: str, by: int) -> str:
    shift = _SHIFT // by * by
    return f"(({value} + {shift}) // {by})"
