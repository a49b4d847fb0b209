"""A soak: a mixed workload on real nodes under faults from a seed, and an account of every message.

`docs/soak.md` says how to run it and what its report means.
"""
