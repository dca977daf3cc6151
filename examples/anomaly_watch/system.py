"""Watches a machine's temperature and a service's logins as they come, and opens an incident where something is odd.

Rows are scored in event time by detectors that learn as they go. What they find strange is classified, routed to a team
and gathered: one incident for all alerts of a machine, a user or an address until it has been quiet for a while.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Literal

from incidents import QUIET, note
from pydantic import BaseModel

from stanchion import Context, System
from stanchion.events import Commit, Event, Ewma, Limit, Measure, RobustZ, Tumbling, Windowed
from stanchion.features import count, distinct, total

app = System("anomaly-watch")


class Reading(BaseModel):
    """A machine's temperature."""

    machine: str
    at: datetime
    celsius: float


class Login(BaseModel):
    """An attempt to log in; `failed` is 1 for one that failed. `id` tells apart what one user does at one moment."""

    id: str
    user: str
    at: datetime
    address: str
    country: str
    failed: int


class Habits(BaseModel):
    """What a user has done lately, as of a login."""

    failed_10m: int
    attempts_10m: int
    countries_1h: int


Kind = Literal["temperature", "guessing", "two_places", "spraying"]
Team = Literal["maintenance", "identity", "security"]
ROUTES: Mapping[Kind, tuple[Team, int]] = {
    "temperature": ("maintenance", 2),
    "two_places": ("identity", 2),
    "guessing": ("identity", 3),
    "spraying": ("security", 1),
}
"""Which team is told of what, and how urgent it is (1 is the most)."""


class Alert(BaseModel):
    """A row that stood out, classified and routed."""

    kind: Kind
    team: Team
    priority: int
    about: str
    at: datetime
    score: float


class Incident(BaseModel):
    """Alerts of one kind about one thing, from the first on."""

    kind: Kind
    team: Team
    priority: int
    about: str
    at: datetime


read = app.event("machine.read", Reading, description="A machine told its temperature.")
tried = app.event("login.tried", Login, description="Somebody tried to log in.")
met = app.event("login.from_address", Login, description="The same, told in the order of addresses, not of users.")
alerted = app.event("anomaly.alerted", Alert, description="A row stood out.")
opened = app.event("incident.opened", Incident, description="Something wants a person's eye.")

# The machine is judged by two things: how far it is from its week, and how far from the last minutes.
heat = app.stream(
    "heat",
    read,
    row=Reading,
    time="at",
    windows={
        "hour": Windowed(
            Tumbling(timedelta(hours=1)),
            {"mean": Measure("mean", "celsius"), "least": Measure("min", "celsius"), "most": Measure("max", "celsius")},
            allowed=timedelta(minutes=30),
        )
    },
    detectors={"level": RobustZ("celsius", memory=2_016, warm=300), "jump": Ewma("celsius", warm=300)},
    lag=timedelta(minutes=5),
)

# A user's habits are a feature view, as a model would be trained on: the stream has its windows from that declaration.
attempts = app.source("logins", Login, time="at", event="id")
habits = app.features(
    "login_habits",
    Habits,
    entity="user",
    ttl=timedelta(days=1),
    source=attempts,
    aggregates={
        "failed_10m": total("failed", minutes=10),
        "attempts_10m": count(minutes=10),
        "countries_1h": distinct("country", hours=1),
    },
)
habits_service = app.feature_service("login_habits_service", [habits])

users = app.stream(
    "users",
    tried,
    row=Login,
    time="at",
    features=habits,
    # `least` is the usual spread of a count that hardly ever moves: five failures, a second country.
    detectors={
        "guessing": RobustZ("failed_10m", memory=200, warm=3, least=1.0, threshold=5.0),
        "two_places": RobustZ("countries_1h", memory=200, warm=3, least=0.25, threshold=4.0),
    },
    lag=timedelta(seconds=30),
    tells="all",
)


class Address(BaseModel):
    """What an address has done lately, as of a login from it."""

    users_10m: int


addresses_view = app.features(
    "address_habits",
    Address,
    entity="address",
    ttl=timedelta(days=1),
    source=attempts,
    aggregates={"users_10m": distinct("user", minutes=10)},
)


# An address that sprays was never seen before: there is nothing to learn from, so this is a plain limit.
addresses = app.stream(
    "addresses",
    met,
    row=Login,
    time="at",
    features=addresses_view,
    detectors={"spraying": Limit("users_10m", threshold=6.0)},
    lag=timedelta(seconds=30),
)


@app.on(heat.anomaly, users.anomaly, addresses.anomaly)
def classify(event: Event, commit: Commit, ctx: Context) -> list[Event]:
    """Say what kind of thing each anomaly is, route it, and open an incident unless one is open for it."""
    told: Mapping[str, Any] = event.json()
    made = []
    for name in told["anomalies"]:
        kind: Kind = "temperature" if event.type == heat.anomaly else name
        team, priority = ROUTES[kind]
        alert = Alert(
            kind=kind, team=team, priority=priority, about=told["key"], at=told["at"], score=told["scores"][name]
        )
        made.append(alerted.of(alert, source="anomaly-watch", subject=alert.about))
        about = Incident(**alert.model_dump(exclude={"score"}))
        news = opened.of(about, source="anomaly-watch", subject=alert.about)
        commit.write(partial(note, ctx=ctx, alert=alert, news=news, quiet=QUIET[alert.kind]))
    return made
