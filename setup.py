"""Lists the packages under each folder, so that a new subpackage never goes missing from a wheel.

Everything else about the distribution stands in pyproject.toml.
"""

from setuptools import find_packages, setup

FOLDERS = {
    "aicc": "aicc",
    "aicc.backends": "backends",
    "aicc.frontends": "frontends",
    "aicc.passes": "passes",
}

packages = list(FOLDERS)
for name, folder in FOLDERS.items():
    packages += [f"{name}.{sub}" for sub in find_packages(folder)]
setup(packages=packages)
