"""The pure part of the cluster package loads no transport, no trio, no discovery."""

from __future__ import annotations

import subprocess
import sys


def test_importing_the_package_loads_neither_grpc_nor_zeroconf_nor_trio() -> None:
    script = "import sys, luna.cluster; print(sorted({'grpc', 'zeroconf', 'trio'} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_importing_the_zeroconf_adapter_does_not_load_grpc() -> None:
    script = "import sys, luna.cluster._zeroconf; print(sorted({'grpc', 'trio'} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
