"""Benchmarks of Luna beside the floor of its machine and beside Erlang: `python -m benchmarks`.

Owns what is measured, how, and how it is shown. Never decides whether a figure is good enough: figures depend
on the machine, so none of them passes or fails.
"""
