"""Lets tests import the modules of one buildpack, as its scripts find them."""
import importlib
import sys
from pathlib import Path

BUILDPACKS = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(BUILDPACKS / "shared" / "lib"))


def load(buildpack, name):
    folder = str(BUILDPACKS / buildpack / "lib")
    sys.path.insert(0, folder)
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(folder)
