"""Fixtures of tests with hosts: clusters on the most real ones there are, and their logs if a test fails."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack

import pytest

from .bed import (
    CONTAINERS,
    NAMESPACES,
    Choice,
    choose_here,
    image_of_this_run,
    keep_evidence,
    open_cluster,
    why_no_containers,
)
from .compose import Cluster, open_project
from .engine import EngineError, docker, why_no_compose
from .fault_cluster import FaultCluster
from .image import ensure_prometheus
from .surroundings import NotHereError

NOT_TESTED = "NOT TESTED"

_CHOICE = pytest.StashKey[Choice]()
_FAILED = pytest.StashKey[bool]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """The option to have other hosts than the most real ones."""
    parser.addoption(
        "--bed",
        choices=(CONTAINERS, NAMESPACES),
        help="what the hosts are (default: containers, if there are any)",
    )


def choice(config: pytest.Config) -> Choice:
    """What the hosts of this run are."""
    if _CHOICE not in config.stash:
        config.stash[_CHOICE] = choose_here(config.getoption("--bed"))
    return config.stash[_CHOICE]


def why_no_image(config: pytest.Config) -> str | None:
    """Why the image is not tested here, or None."""
    if config.getoption("--bed") == NAMESPACES:
        return "containers were not asked for"
    return why_no_containers()


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build the image before the first test, whose patience is for tests."""
    names = {name for item in session.items for name in getattr(item, "fixturenames", ())}
    wanted = names & {"kind", "image"}
    if session.config.option.collectonly or not wanted or why_no_image(session.config) is not None:
        return
    print("building the image of Luna ...", flush=True)
    # Who needs one that cannot be built fails by itself.
    with contextlib.suppress(EngineError):
        image_of_this_run()
        if "prometheus" in names:
            ensure_prometheus()


@pytest.fixture
def kind(pytestconfig: pytest.Config) -> str:
    """The kind of hosts; skips where there are none."""
    chosen = choice(pytestconfig)
    if not chosen.kind:
        pytest.skip(f"{NOT_TESTED}: {'; '.join(chosen.lacking)}")
    return chosen.kind


@pytest.fixture
def cluster(request: pytest.FixtureRequest, kind: str) -> Iterator[FaultCluster]:
    """A network of four hosts, with no node on them yet."""
    yield from _cluster(request, kind)


@pytest.fixture
def namespace_cluster(request: pytest.FixtureRequest, kind: str) -> Iterator[FaultCluster]:
    """The same on namespaces in any case, for clocks: libfaketime suits the C library of its own system only.

    With that of the image the waits of nodes end at once, again and again.
    """
    yield from _cluster(request, NAMESPACES)


def _cluster(request: pytest.FixtureRequest, kind: str) -> Iterator[FaultCluster]:
    with open_cluster(kind) as cluster:
        yield cluster
        if request.node.stash.get(_FAILED, False):
            print(f"the logs of all nodes are in {keep_evidence(cluster, request.node.name)}")


@pytest.fixture(scope="session")
def engine(pytestconfig: pytest.Config) -> None:
    """Skip where no containers can be run, or are not wanted."""
    if (reason := why_no_image(pytestconfig) or why_no_compose()) is not None:
        pytest.skip(f"{NOT_TESTED}: {reason}")


@pytest.fixture(scope="session")
def image(engine: None) -> str:
    """The image of this working tree."""
    return image_of_this_run()


@pytest.fixture(scope="session")
def prometheus(engine: None) -> str:
    """An image of Prometheus."""
    return ensure_prometheus()


@pytest.fixture
def project(request: pytest.FixtureRequest, image: str, prometheus: str) -> Iterator[Cluster]:
    """The compose file, with nothing running yet. What its containers wrote is shown if the test fails."""
    with open_project(image, PROMETHEUS_IMAGE=prometheus) as project:
        yield project
        if request.node.stash.get(_FAILED, False):
            print(project.logs())


@pytest.fixture
def start_container(image: str) -> Iterator[Callable[..., str]]:
    """Runs a container of the image outside of any cluster, with options of `docker run`; its id."""
    with ExitStack() as containers:

        def start(*options: str) -> str:
            container = docker("run", "--detach", *options, image).strip()
            containers.callback(docker, "rm", "--force", "--volumes", container)
            return container

        yield start


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, object, object]:
    """What cannot be made here is not tested, which is no failure."""
    try:
        return (yield)
    except NotHereError as error:
        pytest.skip(f"{NOT_TESTED}: {error}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Remember for the fixture whether the test failed."""
    report = yield
    if report.when == "call":
        item.stash[_FAILED] = report.failed
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say on what the tests ran, and how much was not tested."""
    if _CHOICE not in config.stash:
        return
    chosen = config.stash[_CHOICE]
    skipped = [
        report for report in terminalreporter.stats.get("skipped", []) if NOT_TESTED in str(report.longrepr)
    ]
    terminalreporter.section(f"hosts: {chosen.kind or 'NONE'}")
    for reason in chosen.lacking:
        terminalreporter.line(f"no {CONTAINERS if chosen.kind else 'hosts at all'}: {reason}")
    for report in skipped:
        said = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        reason = said.partition(f"{NOT_TESTED}: ")[2]
        terminalreporter.line(f"{NOT_TESTED}: {report.nodeid}: {reason}", red=True)
