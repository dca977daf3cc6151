"""Documents in, their words out."""

from .contract import DocumentKind, Documents, Parsed, State, check_kind, kind_of

__all__ = ["DocumentKind", "Documents", "Parsed", "State", "check_kind", "kind_of"]
