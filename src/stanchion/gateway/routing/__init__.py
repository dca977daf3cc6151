"""Who answers a call: what is asked for, which models may be used, how each is reached, and what it cost."""
