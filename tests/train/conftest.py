import pytest


@pytest.fixture(scope="module", autouse=True)
def small_networks_train_on_one_thread(one_thread):
    pass
