import pytest
import torch


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Networks as small as these are slowed down by a second one, most of all where others use the processor."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
