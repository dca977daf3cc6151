"""The process that fits estimators: `python -m stanchion.training.worker`, one job, then it ends.

It is a process of its own because a fit holds the processor for seconds, may use all memory and runs declared
code: whatever happens to it, the service goes on.
"""
