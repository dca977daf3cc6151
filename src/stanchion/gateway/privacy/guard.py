"""Looks through every call before it leaves: gives it its class, and takes out what the rules want taken out."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from json import dumps
from typing import Any

from ...core.context import Context, Sensitivity
from ...core.errors import InvalidInput, NotAllowed
from ..contract.privacy import SENSITIVITIES, PrivacySpec, highest
from .detect import Detector, Undetectable, plain
from .documents import Walk
from .recognisers import Span
from .tokens import TOKEN, Tokens, token_of

_UNSEEN = "the answer could not be looked through, and the rules want it looked through"
_INLINE = 20_000  # bytes: longer documents are looked through in a thread


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a call holds. `label` is the class of `document`, the call as it may leave.

    `found` counts by kind what was found, and `treated` what of it was taken out. `tokens` are what the answer's
    tokens stand for. `changed` tells whether `document` is another than was given. `failed` is set where it could
    not be looked through; its label is then `restricted`.
    """

    label: Sensitivity
    document: Mapping[str, Any]
    found: Mapping[str, int] = field(default_factory=dict)
    treated: Mapping[str, int] = field(default_factory=dict)
    tokens: Mapping[str, str] = field(default_factory=dict)
    opaque: int = 0
    changed: bool = False
    failed: bool = False


class Guard:
    """Applies the rules of one system to calls and answers."""

    def __init__(self, spec: PrivacySpec, detector: Detector, tokens: Tokens) -> None:
        self.spec = spec
        self._detector = detector
        self._tokens = tokens
        self.watches_answers = any(treatment != "allow" for treatment in spec.answer.values())
        self.turns_back = "tokenise" in spec.ask.values()

    async def ask(
        self,
        ctx: Context,
        document: Mapping[str, Any],
        declared: str = "",
        *,
        size: int = 0,
        free: bool = False,
        as_given: bool = False,
    ) -> Verdict:
        """The verdict on a request. `declared` is the caller's own word for its class; `size` its length in bytes.
        `free` is a document of no protocol, as `Walk` has it; with `as_given` nothing is taken out of it.

        Raises InvalidInput for a class that there is not, and NotAllowed where the rules want such a call blocked.
        """
        if declared and declared not in SENSITIVITIES:
            raise InvalidInput(f"{declared!r} is no sensitivity; they are {', '.join(SENSITIVITIES)}")
        # The caller's word stands in for the default; the labels of data that the call has touched only ever raise it.
        stated = highest(*ctx.labels, *(label for label in SENSITIVITIES if label == (declared or self.spec.declared)))
        secret = b""
        if self.turns_back:
            secret = await self._tokens.secret(ctx.tenant)
        treatments: Mapping[str, str] = self.spec.ask
        if as_given:
            treatments = {kind: "block" for kind, treatment in treatments.items() if treatment == "block"}
        look = _Look(self.spec, self._detector, treatments, secret, free=free)
        try:
            new = await self._walked(look, document, size)
        except Undetectable:
            return Verdict("restricted", document, failed=True)
        if look.blocked:
            raise NotAllowed(
                f"the request holds what must not be sent: {_told(look.blocked)}",
                next_step="Take it out of the request; the rules of this system refuse it.",
            )
        if look.tokens:
            await self._tokens.keep(ctx.tenant, look.tokens)
        label = highest(stated, *look.left, *((self.spec.opaque,) if look.walk.opaque else ()))
        return Verdict(label, new, look.found, look.treated, look.tokens, look.walk.opaque, changed=new is not document)

    async def given(self, document: Mapping[str, Any], *, size: int = 0) -> Verdict:
        """The verdict on a free document that is an answer, with what the rules for answers want taken out, out.

        Raises NotAllowed where they want it blocked, where it could not be looked through, and where what is to be
        taken out stands in a name or a number and cannot be.
        """
        look = _Look(self.spec, self._detector, self.spec.answer, b"", free=True)
        try:
            new = await self._walked(look, document, size)
        except Undetectable:
            raise NotAllowed(_UNSEEN) from None
        if look.blocked or look.stuck:
            raise NotAllowed(f"the answer holds what must not be given: {_told(look.blocked + look.stuck)}")
        return Verdict(highest(*look.left), new, look.found, look.treated, changed=new is not document)

    async def answered(self, ctx: Context, text: str, verdict: Verdict, *, json: bool = False) -> str:
        """Words of an answer as the caller gets them: tokens turned back, and what the rules want taken out, out.

        `json` says that the words are a piece of JSON text. Raises NotAllowed where the rules want such an answer
        blocked or it could not be looked through.
        """
        if self.watches_answers:
            text = self.cleaned(text)
        return await self.restored(ctx, text, verdict, json=json)

    def cleaned(self, text: str) -> str:
        """Words of an answer without what the rules want taken out. Raises NotAllowed."""
        look = _Look(self.spec, self._detector, self.spec.answer, b"")
        try:
            new = look.change(text)
        except Undetectable:
            raise NotAllowed(_UNSEEN) from None
        if look.blocked:
            raise NotAllowed(f"the answer holds what must not be given: {_told(look.blocked)}")
        return new

    def stretches(self, text: str) -> list[tuple[int, int]]:
        """Where in the text something stands, as start and end; all of it where it cannot be looked through."""
        try:
            return [(span.start, span.end) for span in self._detector.find(text)]
        except Undetectable:
            return [(0, len(text) + 1)]

    async def restored(self, ctx: Context, text: str, verdict: Verdict, *, json: bool = False) -> str:
        """Words of an answer with this tenant's tokens turned back."""
        if not self.turns_back:
            return text
        wanted = {match[0] for match in TOKEN.finditer(text)} - set(verdict.tokens)
        meanings = {**(await self._tokens.meanings(ctx, wanted) if wanted else {}), **verdict.tokens}
        if json:
            meanings = {token: dumps(value)[1:-1] for token, value in meanings.items()}
        return TOKEN.sub(lambda match: meanings.get(match[0], match[0]), text)

    async def _walked(self, look: _Look, document: Mapping[str, Any], size: int) -> Mapping[str, Any]:
        found: Mapping[str, Any]
        if size > _INLINE:
            found = await asyncio.to_thread(look.walk.over, document)
        else:
            found = look.walk.over(document)
        return found


class _Look:
    """One pass over a request or a piece of an answer: what was found, and what became of it."""

    def __init__(
        self,
        spec: PrivacySpec,
        detector: Detector,
        treatments: Mapping[str, str],
        secret: bytes,
        *,
        free: bool = False,
    ) -> None:
        self._spec = spec
        self._detector = detector
        self._treatments = treatments
        self._secret = secret
        self.walk = Walk(self.change, untouchable=self._untouchable, free=free)
        self.found: Counter[str] = Counter()
        self.treated: Counter[str] = Counter()
        self.blocked: Counter[str] = Counter()
        self.stuck: Counter[str] = Counter()
        self.left: set[Sensitivity] = set()
        self.tokens: dict[str, str] = {}

    def change(self, text: str) -> str:
        """The text as it may leave. Raises Undetectable."""
        spans = self._detector.find(text)
        if not spans:
            return text
        pieces, last = [], 0
        for span in spans:
            pieces += [text[last : span.start], self._treated(span, text[span.start : span.end])]
            last = span.end
        return "".join([*pieces, text[last:]])

    def _treated(self, span: Span, value: str) -> str:
        kind = span.kind
        self.found[kind] += 1
        treatment = self._treatments.get(kind, "allow")
        if treatment == "redact":
            self.treated[kind] += 1
            return f"[{kind}]"
        if treatment == "tokenise":
            self.treated[kind] += 1
            value = plain(value)
            token = token_of(self._secret, kind, value)
            self.tokens[token] = value
            return token
        if treatment == "block":
            self.blocked[kind] += 1
        self.left.add(self._spec.label(kind))
        return value

    def _untouchable(self, text: str) -> None:
        """A name or a number that holds something: it cannot be replaced, so it counts as left."""
        for span in self._detector.find(text):
            self.found[span.kind] += 1
            treatment = self._treatments.get(span.kind, "allow")
            if treatment == "block":
                self.blocked[span.kind] += 1
            elif treatment != "allow":
                self.stuck[span.kind] += 1
            self.left.add(self._spec.label(span.kind))


def _told(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{kind} ({number})" for kind, number in sorted(counts.items()))
