"""The pages of the gateway: routes, providers, budgets, prompts, and the playground."""
