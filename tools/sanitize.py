"""Runs the tests of the native core with a sanitizer: `sanitize.py address|thread [pytest arguments]`.

Builds the core a second time, with the sanitizer and with debug information,
into build/<sanitizer>/ beside copies of the Python files, and runs the tests
on that copy; the installed core stays as it is. Needs gcc and its sanitizer
libraries. Exit code: that of pytest, or 1 if ThreadSanitizer reported a race.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("proto", "scheduler", "cluster", "node", "cli")
LIBRARIES = {"address": "libasan.so", "thread": "libtsan.so"}
TESTS = ["tests/scheduler"]


def build(sanitizer: str) -> Path:
    """Build and copy; returns the folder to import from."""
    target = ROOT / "build" / sanitizer
    for package in PACKAGES:
        shutil.copytree(
            ROOT / package,
            target / "luna" / package,
            ignore=shutil.ignore_patterns("*.so", "*.pyx", "*.pxd", "__pycache__"),
            dirs_exist_ok=True,
        )
    subprocess.run(
        [sys.executable, "setup.py", "-q", "build_ext", "--build-lib", str(target),
         "--build-temp", str(ROOT / "build" / f"{sanitizer}-objects")],
        cwd=ROOT,
        env={**os.environ, "LUNA_SANITIZE": sanitizer},
        stdout=subprocess.DEVNULL,
        check=True,
    )  # fmt: skip
    return target


def environment(sanitizer: str, target: Path, reports: Path) -> dict[str, str]:
    """What Python needs to run the instrumented core."""
    library = subprocess.run(
        ["gcc", f"-print-file-name={LIBRARIES[sanitizer]}"], capture_output=True, text=True, check=True
    ).stdout.strip()
    return {
        **os.environ,
        "PYTHONPATH": str(target),
        "LD_PRELOAD": library,
        # Python itself leaves memory at exit; the core's own counters find its leaks.
        "ASAN_OPTIONS": f"detect_leaks=0:log_path={reports}/asan",
        "TSAN_OPTIONS": f"suppressions={ROOT / 'tools' / 'tsan.supp'}:ignore_noninstrumented_modules=1:"
        f"report_signal_unsafe=0:exitcode=0:log_path={reports}/tsan",
    }


def main(arguments: list[str]) -> int:
    if not arguments or arguments[0] not in LIBRARIES:
        print(__doc__, file=sys.stderr)
        return 2
    sanitizer, *options = arguments
    target = build(sanitizer)
    reports = ROOT / "build" / f"{sanitizer}-reports"
    shutil.rmtree(reports, ignore_errors=True)
    reports.mkdir(parents=True)
    status = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--timeout", "600", *(options or TESTS)],
        cwd=ROOT,
        env=environment(sanitizer, target, reports),
        check=False,
    ).returncode
    found = sorted(reports.iterdir())
    for report in found:
        print(f"--- {report.name}\n{report.read_text(errors='replace')}", file=sys.stderr)
    print(f"{sanitizer} sanitizer: {len(found)} reports, pytest exit code {status}")
    return status or (1 if found else 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
