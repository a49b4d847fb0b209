"""What a build of the image is told, and that the compose file and the script speak of the same images."""

from __future__ import annotations

from pathlib import Path

from integration.hosts.base import PUBLIC_BASE
from integration.hosts.image import PUBLIC_PROMETHEUS, TAG, build_arguments

ROOT = Path(__file__).resolve().parents[2]


def test_a_build_is_told_its_base_and_what_the_network_needs() -> None:
    environment = {
        "http_proxy": "http://p:3128",
        "HTTPS_PROXY": "",
        "PIP_INDEX_URL": "http://i/simple",
        "HOME": "/root",
    }
    arguments = build_arguments("debian:13", "1.2", "abc", environment)
    assert arguments[::2] == ["--build-arg"] * 5
    assert arguments[1::2] == [
        "BASE=debian:13",
        "VERSION=1.2",
        "REVISION=abc",
        "http_proxy=http://p:3128",
        "PIP_INDEX_URL=http://i/simple",
    ]


def test_defaults_are_the_same_everywhere() -> None:
    compose = (ROOT / "integration" / "docker-compose.yml").read_text()
    assert f"${{PROMETHEUS_IMAGE:-{PUBLIC_PROMETHEUS}}}" in compose
    assert compose.count(f"image: ${{LUNA_IMAGE:-{TAG}}}") == 2
    for file in (ROOT / "Dockerfile", ROOT / "integration" / "prometheus" / "Dockerfile"):
        assert f"\nARG BASE={PUBLIC_BASE}\n" in file.read_text()
