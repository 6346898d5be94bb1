#!/usr/bin/env python3
"""Builds the wheel: as pip's build backend (pyproject.toml), or as a command.

    python3 scripts/wheel.py [ARGUMENT OF maturin build ...]     needs maturin in PATH; writes target/wheels/heirloom-*.whl

maturin packs the program. What it cannot make are the files that the program itself prints: shell completions and manual pages.
So the program is built and asked for them first; maturin's own build then finds it built.
"""

import os
import pathlib
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
DATA = ROOT / "target/wheel/heirloom.data/data/share"
COMPLETIONS = {
    "bash": "bash-completion/completions/heirloom",
    "zsh": "zsh/site-functions/_heirloom",
    "fish": "fish/vendor_completions.d/heirloom.fish",
}


def make_data():
    """Builds the program and fills the wheel's data directory."""
    subprocess.run(["cargo", "build", "--release", "--locked"], cwd=ROOT, check=True)
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    program = (ROOT / target / "release/heirloom").resolve()
    shutil.rmtree(DATA, ignore_errors=True)
    for shell, place in COMPLETIONS.items():
        path = DATA / place
        path.parent.mkdir(parents=True)
        path.write_bytes(subprocess.run([program, "completions", shell], check=True, capture_output=True).stdout)
    pages = DATA / "man/man1"
    pages.mkdir(parents=True)
    subprocess.run([program, "man", pages], check=True, stdout=subprocess.DEVNULL)


def prepare_metadata_for_build_wheel(metadata_directory, config_settings=None):
    import maturin

    # Without this function pip would build the wheel twice. maturin asks for the directory.
    DATA.mkdir(parents=True, exist_ok=True)
    return maturin.prepare_metadata_for_build_wheel(metadata_directory, config_settings)


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    import maturin

    make_data()
    return maturin.build_wheel(wheel_directory, config_settings, metadata_directory)


def build_sdist(sdist_directory, config_settings=None):
    import maturin

    # maturin asks for the directory, which is not part of the archive.
    DATA.mkdir(parents=True, exist_ok=True)
    return maturin.build_sdist(sdist_directory, config_settings)


def get_requires_for_build_wheel(config_settings=None):
    return []


def get_requires_for_build_sdist(config_settings=None):
    return []


if __name__ == "__main__":
    make_data()
    sys.exit(subprocess.run(["maturin", "build", "--release", *sys.argv[1:]], cwd=ROOT).returncode)
