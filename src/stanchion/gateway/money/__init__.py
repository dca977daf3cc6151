"""Prices, budgets, the ledger of spend, invoices."""
