// Python face of the CompressAI-compatible coder: `_C.compat`. Arrays come in as contiguous int32 (pylatent.compat
// converts).
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <exception>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "common/parallel.h"
#include "rans/compat_decoder.h"
#include "rans/compat_elementwise.h"
#include "rans/compat_encoder.h"
#include "rans/compat_lists.h"
#include "rans/compat_pmf.h"

namespace py = pybind11;

namespace pylatent::compat {
namespace {

constexpr double kSymbol = 5;  // nanoseconds, of either direction

using Floats = py::array_t<float, py::array::c_style>;

py::bytes to_bytes(const Stream& stream) {
  return py::bytes(reinterpret_cast<const char*>(stream.begin), stream.bytes());
}

void require_equal_sizes(const Ints& symbols, const Ints& indexes) {
  if (symbols.size() != indexes.size()) {
    throw std::invalid_argument("`indexes` must be as long as `symbols` (" + std::to_string(symbols.size()) +
                                "), got " + std::to_string(indexes.size()));
  }
}

std::shared_ptr<Tables> make_tables(const Ints& values, const py::array_t<int64_t, py::array::c_style>& row_begin,
                                    const Ints& sizes, const Ints& offsets) {
  const int64_t rows = row_begin.size() - 1;
  if (rows < 0 || sizes.size() != rows || offsets.size() != rows) {
    throw std::invalid_argument("`cdfs_sizes` and `offsets` must have one entry for each of the " +
                                std::to_string(rows) + " rows of `cdfs`, got " + std::to_string(sizes.size()) +
                                " and " + std::to_string(offsets.size()));
  }
  const int64_t* begin = row_begin.data();
  for (int64_t k = 0; k < rows; ++k) {
    if (begin[k] < 0 || begin[k] > begin[k + 1]) throw std::invalid_argument("`row_begin` must not decrease");
  }
  if (begin[rows] > values.size()) throw std::invalid_argument("`row_begin` must lie within `cdfs`");
  return std::make_shared<Tables>(values.data(), begin, sizes.data(), offsets.data(), rows);
}

// `symbols` and `indexes` hold `count` equal streams one after the other.
py::list encode_batch(const Ints& symbols, const Ints& indexes, int64_t count, const Tables& tables, int threads) {
  require_equal_sizes(symbols, indexes);
  if (count < 0 || (count == 0 ? symbols.size() != 0 : symbols.size() % count != 0)) {
    throw std::invalid_argument("`symbols` cannot be divided into the streams");
  }
  std::vector<Stream> streams(static_cast<size_t>(count));
  {
    const py::gil_scoped_release release;
    const size_t n = count ? static_cast<size_t>(symbols.size() / count) : 0;
    parallel_for(count, kSymbol * static_cast<double>(symbols.size()), threads, [&](int64_t b) {
      const size_t first = static_cast<size_t>(b) * n;
      streams[static_cast<size_t>(b)] = encode(symbols.data() + first, indexes.data() + first, n, tables);
    });
  }
  py::list result(streams.size());
  for (size_t b = 0; b < streams.size(); ++b) result[b] = to_bytes(streams[b]);
  return result;
}

// The inverse: fills `symbols`, and checks that every stream ends where it should.
void decode_batch(const std::vector<py::bytes>& data, const Ints& indexes, Ints& symbols, const Tables& tables,
                  int threads) {
  require_equal_sizes(symbols, indexes);
  const int64_t count = static_cast<int64_t>(data.size());
  if (count == 0 ? indexes.size() != 0 : indexes.size() % count != 0) {
    throw std::invalid_argument("`indexes` cannot be divided among the streams");
  }
  std::vector<std::string_view> bytes(data.begin(), data.end());
  int32_t* out = symbols.mutable_data();
  const py::gil_scoped_release release;
  const size_t n = count ? static_cast<size_t>(indexes.size() / count) : 0;
  parallel_for(count, kSymbol * static_cast<double>(indexes.size()), threads, [&](int64_t b) {
    const std::string_view stream = bytes[static_cast<size_t>(b)];
    const size_t first = static_cast<size_t>(b) * n;
    Decoder decoder(reinterpret_cast<const uint8_t*>(stream.data()), stream.size());
    decoder.decode(indexes.data() + first, n, tables, out + first);
    decoder.expect_end();
  });
}

Ints count_below_array(const Floats& values, const Floats& thresholds) {
  Ints counts(std::vector<py::ssize_t>(values.shape(), values.shape() + values.ndim()));
  int32_t* out = counts.mutable_data();
  const py::gil_scoped_release release;
  count_below(values.data(), static_cast<size_t>(values.size()), thresholds.data(),
              static_cast<size_t>(thresholds.size()), out);
  return counts;
}

std::optional<Ints> round_residuals_array(const Floats& values, const std::optional<Floats>& means) {
  if (means && means->size() != values.size()) throw std::invalid_argument("`means` must be as long as `values`");
  Ints symbols(values.size());
  int32_t* out = symbols.mutable_data();
  bool within;
  {
    const py::gil_scoped_release release;
    within = round_residuals(values.data(), means ? means->data() : nullptr, static_cast<size_t>(values.size()), out);
  }
  return within ? std::optional<Ints>(std::move(symbols)) : std::nullopt;
}

// Two Python threads may call one coder at a time when the GIL is released: the mutex makes them take turns.
class SharedEncoder {
 public:
  void append(const Ints& symbols, const Ints& indexes, std::shared_ptr<Tables> tables) {
    require_equal_sizes(symbols, indexes);
    const py::gil_scoped_release release;
    const std::lock_guard<std::mutex> lock(mutex_);
    encoder_.append(symbols.data(), indexes.data(), static_cast<size_t>(symbols.size()), std::move(tables));
  }
  py::bytes flush() {
    Stream stream;
    {
      const py::gil_scoped_release release;
      const std::lock_guard<std::mutex> lock(mutex_);
      stream = encoder_.flush();
    }
    return to_bytes(stream);
  }

 private:
  std::mutex mutex_;
  BufferedEncoder encoder_;
};

class SharedDecoder {
 public:
  explicit SharedDecoder(py::bytes bytes) : bytes_(std::move(bytes)), decoder_(start(bytes_)) {}

  void decode(const Ints& indexes, Ints& symbols, const Tables& tables) {  // which may be the same array
    require_equal_sizes(symbols, indexes);
    int32_t* out = symbols.mutable_data();
    const py::gil_scoped_release release;
    const std::lock_guard<std::mutex> lock(mutex_);
    decoder_.decode(indexes.data(), static_cast<size_t>(indexes.size()), tables, out);
  }
  py::list decode_list(const py::list& indexes, const Tables& tables) {
    Ints values = ints_from_list(indexes, "indexes");
    decode(values, values, tables);
    return list_from_ints(values);
  }
  void expect_end() const { decoder_.expect_end(); }

 private:
  static Decoder start(std::string_view bytes) {
    return Decoder(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
  }

  const py::bytes bytes_;  // immutable, and alive as long as decoder_ reads it
  std::mutex mutex_;
  Decoder decoder_;
};

}  // namespace
}  // namespace pylatent::compat

namespace pylatent {

void bind_rans_compat(py::module_& parent) {
  using namespace compat;
  py::module_ m = parent.def_submodule("compat", "CompressAI-compatible rANS coder (pylatent.compat.compressai)");

  py::register_local_exception_translator([](std::exception_ptr error) {
    try {
      if (error) std::rethrow_exception(error);
    } catch (const FormatError& e) {
      py::set_error(py::module_::import("pylatent.errors").attr("FormatError"), e.what());
    }
  });

  py::class_<Tables, std::shared_ptr<Tables>>(m, "Tables")
      .def(py::init(&make_tables), py::arg("values"), py::arg("row_begin"), py::arg("sizes"), py::arg("offsets"));
  m.def("flatten_rows", &flatten_rows, py::arg("rows"));
  m.def("ints", &ints_from_list, py::arg("sequence"), py::arg("name"));
  m.def("to_list", &list_from_ints, py::arg("values"));
  m.def("quantize_pmf", [](const Floats& pmf, int precision) {
    const std::vector<int32_t> cdf = quantize_pmf(pmf.data(), static_cast<size_t>(pmf.size()), precision);
    return Ints(static_cast<py::ssize_t>(cdf.size()), cdf.data());
  });
  m.def("count_below", &count_below_array, py::arg("values").noconvert(), py::arg("thresholds").noconvert());
  m.def("round_residuals", &round_residuals_array, py::arg("values").noconvert(), py::arg("means").noconvert());
  m.def("encode_batch", &encode_batch, py::arg("symbols").noconvert(), py::arg("indexes").noconvert(), py::arg("count"),
        py::arg("tables"), py::arg("threads"));
  m.def("decode_batch", &decode_batch, py::arg("data"), py::arg("indexes").noconvert(), py::arg("symbols").noconvert(),
        py::arg("tables"), py::arg("threads"));
  py::class_<SharedEncoder>(m, "Encoder")
      .def(py::init<>())
      .def("append", &SharedEncoder::append, py::arg("symbols").noconvert(), py::arg("indexes").noconvert(),
           py::arg("tables"))
      .def("flush", &SharedEncoder::flush);
  py::class_<SharedDecoder>(m, "Decoder")
      .def(py::init<py::bytes>())
      .def("decode", &SharedDecoder::decode, py::arg("indexes").noconvert(), py::arg("symbols").noconvert(),
           py::arg("tables"))
      .def("decode_list", &SharedDecoder::decode_list, py::arg("indexes"), py::arg("tables"))
      .def("expect_end", &SharedDecoder::expect_end);
}

}  // namespace pylatent
