"""What reviews tell the house: event types and the fields of their data. Events hold no content of an item.

Each event's subject is the item's id; its data are item, queue, key, author, by (who did it), status,
priority, level, version, model, model_version, request_id and what the type adds.
"""

from __future__ import annotations

from typing import Literal, get_args

ReviewEvent = Literal[
    "review.opened",
    "review.claimed",
    "review.released",
    "review.warned",
    "review.escalated",
    "review.delegated",
    "review.deferred",
    "review.info_needed",
    "review.informed",
    "review.voted",
    "review.decided",
    "review.undone",
    "review.expired",
    "review.removed",
]
REVIEW_EVENTS: tuple[str, ...] = get_args(ReviewEvent)
"""`review.decided` adds verdict, reason, reviewers and digests, and comes when a decision cannot be undone any more.
`review.removed` tells that the queue's retention took an item that had ended."""
