// The lane coder for Python: addresses, sizes and dtype codes in, bytes out; the GIL is released while coding.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>

#include "common/checks.h"
#include "common/cpu.h"
#include "rans/lane_stream.h"

namespace py = pybind11;

namespace pylatent {
namespace {

using rans::LaneTables;
using Int32 = py::array_t<int32_t, py::array::c_style | py::array::forcecast>;
using Int64 = py::array_t<int64_t, py::array::c_style | py::array::forcecast>;

// (address, dtype code) of a contiguous array that the caller keeps alive.
using Address = std::pair<uintptr_t, int>;

rans::Array array(const Address& address) {
  check_range("dtype", address.second, 0, 2);
  return {reinterpret_cast<const void*>(address.first), static_cast<rans::Dtype>(address.second)};
}

template <class Fn>
auto translate_errors(Fn&& fn) {
  try {
    py::gil_scoped_release release;
    return fn();
  } catch (const rans::IndexProblem& problem) {
    throw py::index_error(problem.what());
  } catch (const rans::FormatProblem& problem) {
    py::object error = py::module_::import("pylatent.errors").attr("FormatError");
    PyErr_SetString(error.ptr(), problem.what());
    throw py::error_already_set();
  }
}

py::bytes concatenate(const rans::Pieces& pieces) {
  size_t size = 0;
  for (const std::string& piece : pieces) size += piece.size();
  py::bytes out = py::reinterpret_steal<py::bytes>(PyBytes_FromStringAndSize(nullptr, static_cast<Py_ssize_t>(size)));
  if (!out) throw py::error_already_set();
  char* to = PyBytes_AS_STRING(out.ptr());
  for (const std::string& piece : pieces) to = std::copy(piece.begin(), piece.end(), to);
  return out;
}

LaneTables make_lane_tables(const Int32& precision, const Int32& extra, const Int32& low, const Int32& count,
                            const Int32& row, const Int32& cdf, const Int64& entropy) {
  const int64_t k = precision.size();
  for (const auto& [name, size] : {std::pair{"extra", extra.size()},
                                   {"low", low.size()},
                                   {"count", count.size()},
                                   {"row", row.size() - 1},
                                   {"entropy", entropy.size()}}) {
    check_equal(name, size, k);
  }
  return rans::make_lane_tables(k, precision.data(), extra.data(), low.data(), count.data(), row.data(), cdf.data(),
                                cdf.size(), entropy.data());
}

py::list encode(const LaneTables& tables, const std::vector<Address>& symbols, const std::vector<Address>& indexes,
                const std::vector<int64_t>& sizes, int threads) {
  check_equal("symbols", symbols.size(), sizes.size());
  check_equal("indexes", indexes.size(), sizes.size());
  std::vector<rans::EncodeItem> items;
  for (size_t i = 0; i < sizes.size(); ++i) items.push_back({array(symbols[i]), array(indexes[i]), sizes[i]});
  const auto streams = translate_errors([&] { return rans::encode_streams(tables, items, threads); });
  py::list out(streams.size());
  for (size_t i = 0; i < streams.size(); ++i) out[i] = concatenate(streams[i]);
  return out;
}

void decode(const LaneTables& tables, const std::vector<py::bytes>& data, const std::vector<Address>& indexes,
            const std::vector<uintptr_t>& symbols, const std::vector<int64_t>& sizes, int threads) {
  check_equal("data", data.size(), sizes.size());
  check_equal("indexes", indexes.size(), sizes.size());
  check_equal("symbols", symbols.size(), sizes.size());
  std::vector<rans::DecodeItem> items;
  for (size_t i = 0; i < sizes.size(); ++i) {
    items.push_back({reinterpret_cast<const uint8_t*>(PyBytes_AS_STRING(data[i].ptr())),
                     PyBytes_GET_SIZE(data[i].ptr()), array(indexes[i]), reinterpret_cast<int32_t*>(symbols[i]),
                     sizes[i]});
  }
  translate_errors([&] { rans::decode_streams(tables, items, threads); });
}

}  // namespace

void bind_rans_compat(py::module_& m);

void bind_rans(py::module_& m) {
  bind_rans_compat(m);
  m.attr("simd") = simd_name(simd_level());
  py::class_<LaneTables>(m, "LaneTables")
      .def(py::init(&make_lane_tables))
      .def("encode", &encode)
      .def("decode", &decode);
}

}  // namespace pylatent
