"""Test mode of `luna run`: the runner of `cargo test` for the `lunatic` crate's tests.

`binary` finds the tests of a module, `options` reads the harness' command line, `selection` picks, `verdict`
judges, `report` prints; these are pure. `runner` runs the tests, `mode` puts the parts together.
"""
