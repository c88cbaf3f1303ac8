"""What every built wheel must do on its platform: import natively, code some symbols, use threads."""

import torch

import pylatent
from pylatent import _native, coding

pylatent.show_config()
assert _native.why_not_native() is None
assert _native.core().parallel_probe(1000, 2)[0] == 1000

tables = coding.CdfTables([[0, 30000, 60000, 65535, 65536]], [5], [-1])
symbols = torch.randint(-1, 3, (10_000,), dtype=torch.int32)
indexes = torch.zeros(10_000, dtype=torch.int32)
data = coding.encode(symbols, indexes, tables)
assert torch.equal(coding.decode(data, indexes, tables), symbols)
print(f"10,000 symbols in {len(data)} bytes and back")
