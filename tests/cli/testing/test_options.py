"""The command line of the test harness."""

from __future__ import annotations

import click
import pytest

from luna.cli.testing.options import NOT_SUPPORTED, HelpRequested, TestOptions, parse_options


def parse(*arguments: str, **variables: str) -> TestOptions:
    return parse_options(arguments, variables, "x.wasm")


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        ([], TestOptions()),
        (["a"], TestOptions(filters=("a",))),
        (["a", "--exact", "b"], TestOptions(filters=("a", "b"), exact=True)),
        (["--", "a", "--list", "--", "-q"], TestOptions(arguments=("a", "--list", "--", "-q"))),
        (["f", "--"], TestOptions(filters=("f",))),
        (["f", "--", "x"], TestOptions(filters=("f",), arguments=("x",))),
        (["--skip", "a", "--skip=b"], TestOptions(skips=("a", "b"))),
        (["--ignored"], TestOptions(ignored="only")),
        (["--include-ignored"], TestOptions(ignored="too")),
        (["--list"], TestOptions(lists=True)),
        (["--list", "--format", "terse"], TestOptions(lists=True, terse=True)),
        (["--format=pretty"], TestOptions()),
        (["-q"], TestOptions(terse=True)),
        (["--quiet"], TestOptions(terse=True)),
        (["-q", "--format", "pretty"], TestOptions()),
        (["--nocapture"], TestOptions(nocapture=True)),
        (["--no-capture"], TestOptions(nocapture=True)),
        (["--show-output"], TestOptions(show_output=True)),
        (["--test-threads", "3"], TestOptions(threads=3)),
        (["--test-threads=1"], TestOptions(threads=1)),
        (["--color", "always"], TestOptions(color="always")),
        (["--color=never"], TestOptions(color="never")),
        (["--dir", "a", "--dir=b"], TestOptions(directories=("a", "b"))),
        (["-Z", "unstable-options", "--test"], TestOptions()),
        (["-Zunstable-options", "a"], TestOptions(filters=("a",))),
    ],
)
def test_options_are_those_of_libtest(arguments: list[str], options: TestOptions) -> None:
    assert parse(*arguments) == options


def test_variables_are_those_of_libtest() -> None:
    assert parse(RUST_TEST_THREADS="4").threads == 4
    assert parse("--test-threads=2", RUST_TEST_THREADS="4").threads == 2
    assert parse(RUST_TEST_NOCAPTURE="1").nocapture
    assert not parse(RUST_TEST_NOCAPTURE="0").nocapture


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--bogus"], "--bogus"),
        (["--ignored", "--include-ignored"], "--include-ignored and --ignored exclude each other"),
        (["--test-threads", "0"], "--test-threads"),
        (["--test-threads", "x"], "--test-threads"),
        (["--color", "red"], "--color"),
        (["--format", "json"], "unstable"),
        (["--format", "junit"], "unstable"),
        (["--format", "x"], "'x' is neither pretty nor terse"),
        (["--skip"], "--skip"),
        *(
            (
                [name, "x"] if name in ("--logfile", "--shuffle-seed") else [name],
                f"{name} is not supported: {why}",
            )
            for name, why in NOT_SUPPORTED.items()
        ),
    ],
)
def test_what_is_wrong_or_unknown_is_named(arguments: list[str], said: str) -> None:
    with pytest.raises(click.UsageError) as error:
        parse(*arguments)
    assert said in error.value.format_message()


@pytest.mark.parametrize("text", ["0", "-1", "x", "", "1.5"])
def test_variable_for_threads_must_be_a_positive_number(text: str) -> None:
    with pytest.raises(click.UsageError, match="RUST_TEST_THREADS"):
        parse(RUST_TEST_THREADS=text)


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_names_the_options_and_hides_those_refused(option: str) -> None:
    with pytest.raises(HelpRequested) as help_:
        parse(option)
    text = str(help_.value)
    assert text.startswith("Usage: luna run x.wasm [OPTIONS] [FILTERS]...")
    for name in ("--skip", "--test-threads", "--include-ignored", "--color", "--nocapture", "--list", "-q"):
        assert name in text
    for name in NOT_SUPPORTED:
        assert name not in text
