"""Fixtures of the tests on hosts of their own: the image of this working tree, and a cluster of it."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack

import pytest

from .compose import Cluster, open_cluster
from .engine import why_no_compose
from .image import ensure_image, ensure_prometheus

_FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Remember that a test failed, for the fixtures that come to their end after it."""
    report = yield
    if report.failed:
        item.stash[_FAILED] = True
    return report


@pytest.fixture(scope="session")
def engine() -> None:
    """Skip where no containers can be run."""
    if (reason := why_no_compose()) is not None:
        pytest.skip(f"there are no containers here: {reason}")


@pytest.fixture(scope="session")
def image(engine: None) -> str:
    """The image of this working tree, built now if it was not before."""
    return ensure_image()


@pytest.fixture(scope="session")
def prometheus(engine: None) -> str:
    """An image of Prometheus."""
    return ensure_prometheus()


@pytest.fixture
def cluster(request: pytest.FixtureRequest, image: str, prometheus: str) -> Iterator[Cluster]:
    """A project that runs nothing yet. What its containers wrote is shown if the test fails."""
    with open_cluster(image, PROMETHEUS_IMAGE=prometheus) as cluster:
        yield cluster
        if request.node.stash.get(_FAILED, False):
            print(cluster.logs())


@pytest.fixture
def start_container(image: str) -> Iterator[Callable[..., str]]:
    """Runs a container of the image outside of any cluster, with options of `docker run`; its id."""
    from .engine import docker

    with ExitStack() as containers:

        def start(*options: str) -> str:
            container = docker("run", "--detach", *options, image).strip()
            containers.callback(docker, "rm", "--force", "--volumes", container)
            return container

        yield start
