import numpy as np
import pytest


@pytest.fixture(autouse=True)
def no_float_errors():
    """Kernels run as the executor runs them."""
    with np.errstate(all="ignore"):
        yield


@pytest.fixture
def rng():
    return np.random.default_rng(0)
