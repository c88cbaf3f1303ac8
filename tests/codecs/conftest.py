import pytest
from small_codec import make_codec

from pylatent.codecs.hyperprior import ScaleHyperprior


@pytest.fixture(scope="session")
def codec():
    return make_codec()


@pytest.fixture(scope="session", params=["mean-scale", "scale", "fixed rate"])
def any_codec(request):
    if request.param == "scale":
        return make_codec(ScaleHyperprior, gains=0)
    return make_codec(gains=4 if request.param == "mean-scale" else 0)
