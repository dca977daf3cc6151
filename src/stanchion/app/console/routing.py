"""Which address shows which page."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from ...core.context import Context
from ...core.errors import NotFound, StanchionError
from ...core.http.door import MATCHED
from .assets import BASE
from .pages import (
    audit,
    batches,
    features,
    keys,
    login,
    models,
    observe,
    overview,
    policies,
    promotions,
    quality,
    rollouts,
    search,
)
from .pages.events import consumers, dead, tree
from .pages.events import listing as event_listing
from .pages.events import schemas as event_schemas
from .pages.gateway import budgets, playground, prompts, providers
from .pages.gateway import routes as gateway_routes
from .pages.pipelines import declared, runs
from .pages.pipelines import listing as run_listing
from .pages.review import bulk, deciding, holding
from .pages.review import listing as review_listing
from .pages.review import quality as review_quality
from .pages.review import showing as review_showing
from .ports import ConsoleDoors
from .shell import Shell

Endpoint = Callable[[Request], Awaitable[Response]]
Line = tuple[str, Endpoint, str]
_CONVERTOR = re.compile(r":\w+}")


def routes(doors: ConsoleDoors) -> Sequence[BaseRoute]:
    """The console's routes with their whole paths, to be added to an application behind the HTTP door.

    `/console/login` and `/console/static/...` need no session; every other path needs the caller's Context in
    its scope, and without one it shows nothing. No Mount: the ledger would name the routes without /console.
    """
    shell = Shell(doors)
    return [
        Route(BASE + path, _named(BASE + path, endpoint), methods=[method])
        for path, endpoint, method in (
            *_shared(shell),
            *_models(shell),
            *_gateway(shell),
            *_review(shell),
            *_pipelines(shell),
            *_events(shell),
            *_features(shell),
            *_batches(shell),
            *_observe(shell),
            *_govern(shell),
            *_rest(shell),
        )
    ]


def _named(path: str, endpoint: Endpoint) -> Endpoint:
    """The endpoint, which tells the door its route for the ledger: plain routes leave no trace of themselves."""
    template = _CONVERTOR.sub("}", path)

    async def named(request: Request) -> Response:
        request.scope[MATCHED] = template
        return await endpoint(request)

    return named


def _shared(shell: Shell) -> list[Line]:
    return [
        ("", shell.shows(_start), "GET"),
        ("/login", login.form(shell), "GET"),
        ("/login", login.enter(shell), "POST"),
        ("/logout", shell.acts(login.leave), "POST"),
        ("/static/{digest}/{name}", _static(shell), "GET"),
        ("/", shell.shows(overview.page), "GET"),
        ("/search", shell.shows(search.page), "GET"),
        ("/fragments/overview", shell.shows(overview.fragment), "GET"),
    ]


def _models(shell: Shell) -> list[Line]:
    return [
        ("/fragments/quality/{model:path}", shell.shows(quality.fragment), "GET"),
        ("/fragments/rungs/{model:path}", shell.shows(models.rungs_fragment), "GET"),
        ("/models", shell.shows(models.listing), "GET"),
        ("/models/{model:path}/promote", shell.acts(promotions.promote), "POST"),
        ("/models/{model:path}/approve", shell.acts(promotions.approve), "POST"),
        ("/models/{model:path}/rollback", shell.acts(promotions.rollback), "POST"),
        ("/fragments/rollout/{model:path}", shell.shows(rollouts.fragment), "GET"),
        ("/models/{model:path}/rollout/change", shell.acts(rollouts.change), "POST"),
        ("/models/{model:path}/rollout", shell.acts(rollouts.start), "POST"),
        ("/models/{model:path}/rollout", shell.shows(rollouts.page), "GET"),
        ("/models/{model:path}/alias", shell.acts(promotions.alias), "POST"),
        ("/models/{model:path}", shell.shows(models.detail), "GET"),
    ]


def _gateway(shell: Shell) -> list[Line]:
    return [
        ("/fragments/gateway", shell.shows(gateway_routes.listing_fragment), "GET"),
        ("/fragments/gateway/routes/{route}", shell.shows(gateway_routes.detail_fragment), "GET"),
        ("/fragments/gateway/providers", shell.shows(providers.fragment), "GET"),
        ("/fragments/gateway/budgets", shell.shows(budgets.listing_fragment), "GET"),
        ("/fragments/gateway/budgets/{budget}", shell.shows(budgets.detail_fragment), "GET"),
        ("/gateway", shell.shows(gateway_routes.listing), "GET"),
        ("/gateway/routes", shell.shows(gateway_routes.new), "GET"),
        ("/gateway/routes", shell.acts(gateway_routes.create), "POST"),
        ("/gateway/routes/{route}", shell.shows(gateway_routes.detail), "GET"),
        ("/gateway/routes/{route}", shell.acts(gateway_routes.save), "POST"),
        ("/gateway/routes/{route}/plan", shell.acts(gateway_routes.dry_run), "POST"),
        ("/gateway/routes/{route}/restore", shell.acts(gateway_routes.restore), "POST"),
        ("/gateway/routes/{route}/drop", shell.acts(gateway_routes.drop), "POST"),
        ("/gateway/providers", shell.shows(providers.page), "GET"),
        ("/gateway/providers/{upstream}/drain", shell.acts(providers.drain), "POST"),
        ("/gateway/budgets", shell.shows(budgets.listing), "GET"),
        ("/gateway/budgets", shell.acts(budgets.create), "POST"),
        ("/gateway/budgets/{budget}", shell.shows(budgets.detail), "GET"),
        ("/gateway/budgets/{budget}", shell.acts(budgets.save), "POST"),
        ("/gateway/budgets/{budget}/delete", shell.acts(budgets.delete), "POST"),
        ("/gateway/prompts", shell.shows(prompts.listing), "GET"),
        ("/gateway/prompts", shell.acts(prompts.create), "POST"),
        ("/gateway/prompts/{prompt}", shell.shows(prompts.detail), "GET"),
        ("/gateway/prompts/{prompt}", shell.acts(prompts.add), "POST"),
        ("/gateway/prompts/{prompt}/label", shell.acts(prompts.label), "POST"),
        ("/gateway/playground", shell.shows(playground.page), "GET"),
        ("/gateway/playground", shell.acts(playground.ask), "POST"),
        ("/gateway/playground/stream", shell.acts(playground.stream), "POST"),
    ]


def _review(shell: Shell) -> list[Line]:
    return [
        ("/fragments/review", shell.shows(review_listing.fragment), "GET"),
        ("/fragments/review-badge", shell.shows(review_listing.badge), "GET"),
        ("/fragments/review-quality", shell.shows(review_quality.fragment), "GET"),
        ("/fragments/review/{item}", shell.shows(review_showing.state_fragment), "GET"),
        ("/review", shell.shows(review_listing.page), "GET"),
        ("/review", shell.acts(review_listing.take), "POST"),
        ("/review/bulk", shell.shows(bulk.page), "GET"),
        ("/review/bulk", shell.acts(bulk.decide), "POST"),
        ("/review/bulk/take", shell.acts(bulk.take), "POST"),
        ("/review/bulk/heartbeat", shell.acts(bulk.heartbeat), "POST"),
        ("/review/quality", shell.shows(review_quality.page), "GET"),
        ("/review/{item}", shell.shows(review_showing.page), "GET"),
        ("/review/{item}/ahead", shell.shows(review_showing.ahead), "GET"),
        ("/review/{item}/claim", shell.acts(holding.claim), "POST"),
        ("/review/{item}/heartbeat", shell.acts(holding.heartbeat), "POST"),
        ("/review/{item}/decide", shell.acts(deciding.decide), "POST"),
        ("/review/{item}/undo", shell.acts(deciding.undo), "POST"),
        ("/review/{item}/leave", shell.acts(holding.put_off), "POST"),
        ("/review/{item}/inform", shell.acts(holding.inform), "POST"),
    ]


def _pipelines(shell: Shell) -> list[Line]:
    return [
        ("/fragments/pipelines", shell.shows(run_listing.runs_fragment), "GET"),
        ("/fragments/pipelines-queues", shell.shows(run_listing.queues_fragment), "GET"),
        ("/fragments/pipelines/{run}", shell.shows(runs.fragment), "GET"),
        ("/fragments/pipelines/{run}/acts", shell.shows(runs.acts_fragment), "GET"),
        ("/pipelines", shell.shows(run_listing.first), "GET"),
        ("/pipelines/runs/{run}", shell.shows(runs.page), "GET"),
        ("/pipelines/runs/{run}", shell.acts(runs.change), "POST"),
        ("/pipelines/schedules", shell.shows(run_listing.schedules), "GET"),
        ("/pipelines/schedules/{schedule}", shell.acts(run_listing.pause), "POST"),
        ("/pipelines/queues", shell.shows(run_listing.queues), "GET"),
        ("/pipelines/declared/{pipeline}", shell.shows(declared.page), "GET"),
        ("/pipelines/declared/{pipeline}", shell.acts(declared.start), "POST"),
        ("/pipelines/declared/{pipeline}/backfill", shell.acts(declared.backfill), "POST"),
    ]


def _events(shell: Shell) -> list[Line]:
    return [
        ("/fragments/events", shell.shows(consumers.fragment), "GET"),
        ("/fragments/events-dead", shell.shows(dead.fragment), "GET"),
        ("/fragments/events/tree/{id}", shell.shows(tree.fragment), "GET"),
        ("/fragments/events-recent", shell.shows(event_listing.fragment), "GET"),
        ("/fragments/events-recent/{place}", shell.shows(event_listing.event_fragment), "GET"),
        ("/fragments/events-schemas", shell.shows(event_schemas.fragment), "GET"),
        ("/fragments/events-schemas/{subject:path}", shell.shows(event_schemas.subject_fragment), "GET"),
        ("/events", shell.shows(consumers.page), "GET"),
        ("/events/consumers/{consumer}", shell.acts(consumers.change), "POST"),
        ("/events/dead", shell.shows(dead.page), "GET"),
        ("/events/dead", shell.acts(dead.change), "POST"),
        ("/events/dead/{letter}", shell.shows(dead.letter), "GET"),
        ("/events/tree", shell.shows(tree.page), "GET"),
        ("/events/recent", shell.shows(event_listing.page), "GET"),
        ("/events/recent/{place}", shell.shows(event_listing.event), "GET"),
        ("/events/schemas", shell.shows(event_schemas.page), "GET"),
        ("/events/schemas/{subject:path}", shell.shows(event_schemas.subject), "GET"),
        ("/events/schemas/{subject:path}", shell.acts(event_schemas.change), "POST"),
    ]


def _features(shell: Shell) -> list[Line]:
    return [
        ("/features", shell.shows(features.listing), "GET"),
        ("/features/views/{view}", shell.shows(features.view), "GET"),
        ("/features/services/{service}", shell.shows(features.service), "GET"),
    ]


def _batches(shell: Shell) -> list[Line]:
    return [
        ("/fragments/batches", shell.shows(batches.listing_fragment), "GET"),
        ("/fragments/batches/{job}", shell.shows(batches.detail_fragment), "GET"),
        ("/fragments/batches/{job}/acts", shell.shows(batches.acts_fragment), "GET"),
        ("/batches", shell.shows(batches.listing), "GET"),
        ("/batches/{job}", shell.shows(batches.detail), "GET"),
        ("/batches/{job}/cancel", shell.acts(batches.cancel), "POST"),
        ("/batches/{job}/resume", shell.acts(batches.resume), "POST"),
    ]


def _observe(shell: Shell) -> list[Line]:
    return [
        ("/fragments/requests", shell.shows(observe.requests_fragment), "GET"),
        ("/fragments/traces", shell.shows(observe.traces_fragment), "GET"),
        ("/observe", shell.shows(observe.requests), "GET"),
        ("/observe/requests/{request_id}", shell.shows(observe.request), "GET"),
        ("/observe/traces", shell.shows(observe.traces), "GET"),
        ("/observe/traces/{trace_id}", shell.shows(observe.trace), "GET"),
    ]


def _govern(shell: Shell) -> list[Line]:
    return [
        ("/govern", shell.shows(keys.first), "GET"),
        ("/govern/keys", shell.shows(keys.listing), "GET"),
        ("/govern/keys", shell.acts(keys.create), "POST"),
        ("/govern/keys/{key_id}", shell.shows(keys.detail), "GET"),
        ("/govern/keys/{key_id}/rotate", shell.acts(keys.rotate), "POST"),
        ("/govern/keys/{key_id}/revoke", shell.acts(keys.revoke), "POST"),
        ("/govern/policies", shell.shows(policies.page), "GET"),
        ("/govern/policies", shell.acts(policies.save), "POST"),
        ("/govern/audit", shell.shows(audit.listing), "GET"),
        ("/govern/audit/verify", shell.acts(audit.verify), "POST"),
        ("/govern/audit/export.ndjson", shell.shows(audit.export), "GET"),
        ("/govern/audit/{seq:int}", shell.shows(audit.event), "GET"),
        ("/govern/audit/{seq:int}/proof.json", shell.shows(audit.proof), "GET"),
    ]


def _rest(shell: Shell) -> list[Line]:
    return [
        ("/{rest:path}", shell.shows(_unknown), "GET"),
        ("/{rest:path}", shell.shows(_unknown), "POST"),
    ]


def _static(shell: Shell) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        try:
            return shell.assets.answer(request)
        except StanchionError as error:
            return Response(error.detail, error.status, media_type="text/plain")

    return endpoint


async def _unknown(shell: Shell, request: Request, ctx: Context) -> Response:
    raise NotFound(f"there is no page {request.url.path}", next_step="Choose one of the pages in the navigation.")


async def _start(shell: Shell, request: Request, ctx: Context) -> Response:
    return shell.leave(request, f"{BASE}/")
