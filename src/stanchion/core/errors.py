"""The one error tree: what went wrong, as a stable code, and what to do next.

    StanchionError            internal_error           500
    |- InvalidInput           invalid_input            422
    |  |- MalformedRequest    malformed_request        400
    |  `- PayloadTooLarge     payload_too_large        413
    |- NotAuthenticated       not_authenticated        401
    |- NotAllowed             not_allowed              403
    |- NotFound               not_found                404
    |- Conflict               conflict                 409
    |- Throttled              throttled                429
    |  `- BudgetExceeded      budget_exceeded          429
    |- Unavailable            unavailable              503
    |  `- CircuitOpen         circuit_open             503
    |- DeadlineExceeded       deadline_exceeded        504
    |- NotTrustworthy         not_trustworthy          500
    `- Misconfigured          misconfigured            500

Every door raises these and nothing else; HTTP renders them as RFC 9457 problem documents, the remote
client raises them again on the far side, and the command line turns them into exit codes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

PROBLEM_TYPE = "urn:stanchion:problem:"


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """One fault of one field: `path` is a JSON path such as `$.features.tenure_months`."""

    path: str
    message: str


class StanchionError(Exception):
    """A fault inside Stanchion that its caller did not cause."""

    code: ClassVar[str] = "internal_error"
    status: ClassVar[int] = 500
    title: ClassVar[str] = "Something failed inside the service"
    next_step: ClassVar[str] = "Report it with the trace id: the service log holds the cause."

    def __init__(
        self,
        detail: str = "",
        *,
        next_step: str | None = None,
        fields: Sequence[FieldProblem] = (),
        retry_after: float | None = None,
    ) -> None:
        super().__init__(detail or self.title)
        self.detail = detail or self.title
        self.hint = next_step or self.next_step
        self.fields = tuple(fields)
        self.retry_after = retry_after

    def problem(self, *, trace_id: str | None = None, instance: str | None = None) -> dict[str, object]:
        """The RFC 9457 document for this error, ready for JSON."""
        document: dict[str, object] = {
            "type": PROBLEM_TYPE + self.code,
            "title": self.title,
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
            "next_step": self.hint,
        }
        if self.fields:
            document["errors"] = [{"path": f.path, "message": f.message} for f in self.fields]
        if self.retry_after is not None:
            document["retry_after"] = self.retry_after
        if trace_id is not None:
            document["trace_id"] = trace_id
        if instance is not None:
            document["instance"] = instance
        return document


class InvalidInput(StanchionError):
    """The request was understood and a value in it is not acceptable."""

    code = "invalid_input"
    status = 422
    title = "The input is not valid"
    next_step = "Correct the fields named in `errors` and send the request again."


class MalformedRequest(InvalidInput):
    """The bytes are not a request of this interface: no JSON, wrong encoding, wrong framing."""

    code = "malformed_request"
    status = 400
    title = "The request could not be read"
    next_step = "Send one JSON document in UTF-8 as the API reference shows."


class PayloadTooLarge(InvalidInput):
    """The body, a header or the number of items passes a limit."""

    code = "payload_too_large"
    status = 413
    title = "The request is too large"
    next_step = "Send less at once, or raise the limit named in `detail`."


class NotAuthenticated(StanchionError):
    """No credential came, or it is unknown, expired, revoked or forged."""

    code = "not_authenticated"
    status = 401
    title = "No valid credential"
    next_step = "Send `Authorization: Bearer KEY` with a key from `stanchion keys create`."


class NotAllowed(StanchionError):
    """The caller is known and no policy permits this action on this resource."""

    code = "not_allowed"
    status = 403
    title = "Not permitted"
    next_step = "Ask for a key with the scope or role named in `detail`."


class NotFound(StanchionError):
    """No such thing in the caller's tenant. Another tenant's thing answers the same."""

    code = "not_found"
    status = 404
    title = "Not found"
    next_step = "List what exists, and check the name, version or alias."


class Conflict(StanchionError):
    """The state does not admit this change, or somebody else changed it first."""

    code = "conflict"
    status = 409
    title = "The change conflicts with the present state"
    next_step = "Read the present state and decide again."


class Throttled(StanchionError):
    """A rate, a queue or a concurrency limit is reached."""

    code = "throttled"
    status = 429
    title = "Too many requests"
    next_step = "Wait for the seconds in Retry-After, then send the request again."


class BudgetExceeded(Throttled):
    """The call's budget (cost, steps or tokens) does not cover it."""

    code = "budget_exceeded"
    title = "The budget is used up"
    next_step = "Raise the budget, or wait until its window starts anew."


class Unavailable(StanchionError):
    """A part this call needs does not answer; nothing was changed."""

    code = "unavailable"
    status = 503
    title = "A needed part is unavailable"
    next_step = "Try again later; `stanchion doctor` and /readyz tell which part is down."


class CircuitOpen(Unavailable):
    """The part failed so often that calls to it are held back for a while."""

    code = "circuit_open"
    title = "A failing part is being given time to recover"


class DeadlineExceeded(StanchionError):
    """The caller's time ran out before the answer was ready."""

    code = "deadline_exceeded"
    status = 504
    title = "The time limit passed"
    next_step = "Allow more time, or ask for less in one call."


class NotTrustworthy(StanchionError):
    """Something stored does not match its signature, digest or chain, so it is not used."""

    code = "not_trustworthy"
    title = "A stored item fails its integrity check"
    next_step = "Run `stanchion audit verify` and restore the item from a trusted copy."


class Misconfigured(StanchionError):
    """A setting is missing, unknown or unsafe; the command line exits with 2."""

    code = "misconfigured"
    title = "The configuration is not usable"
    next_step = "Run `stanchion config show --sources` and correct the setting named in `detail`."


def _tree(root: type[StanchionError]) -> list[type[StanchionError]]:
    return [root, *(leaf for child in root.__subclasses__() for leaf in _tree(child))]


BY_CODE: Mapping[str, type[StanchionError]] = {error.code: error for error in _tree(StanchionError)}


def from_problem(document: Mapping[str, object]) -> StanchionError:
    """The error a problem document tells of; an unknown code becomes the plain StanchionError."""
    retry_after = document.get("retry_after")
    given = document.get("errors")
    faults = given if isinstance(given, list) else []
    return BY_CODE.get(str(document.get("code")), StanchionError)(
        str(document.get("detail", "")),
        next_step=str(document["next_step"]) if "next_step" in document else None,
        fields=[FieldProblem(str(f["path"]), str(f["message"])) for f in faults],
        retry_after=float(retry_after) if isinstance(retry_after, int | float) else None,
    )
