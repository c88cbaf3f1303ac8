import pylatent


def test_version_is_a_release_number():
    assert pylatent.__version__.count(".") == 2
