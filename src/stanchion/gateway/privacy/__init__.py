"""Sensitivity: what a call holds, where it may go, and what is taken out of it first."""
