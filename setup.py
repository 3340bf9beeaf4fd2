"""Four top-level folders, one import package; a new subpackage is found, never listed.

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
setup(packages=packages, package_dir=FOLDERS)
