"""A slice of the fuzzing of .lat files; `python tests/fuzz_files.py 100000` is the whole."""

import fuzz_files
import pytest


@pytest.mark.parametrize("codec", fuzz_files.CODECS)
def test_mutated_files_decode_identically_or_are_refused(codec):
    counts, _ = fuzz_files.run(120 if codec == "corrected" else 500, seed=20, codec_name=codec)
    results = {result for _, _, result in counts}
    assert {"FormatError", "unchanged"} <= results
    assert {kind for kind, _, _ in counts} == {"splice", *(mutation.__name__ for mutation in fuzz_files.MUTATIONS)}
