// Lists of Python integers to int32 and back: numpy would take several times as long.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstdint>
#include <string>
#include <vector>

namespace pylatent::compat {

namespace py = pybind11;

using Ints = py::array_t<int32_t, py::array::c_style>;

inline void require_list(py::handle sequence, const char* name) {
  if (PyList_Check(sequence.ptr()) || PyTuple_Check(sequence.ptr())) return;
  throw py::type_error(std::string("`") + name + "` must be a list of integers, got " +
                       Py_TYPE(sequence.ptr())->tp_name);
}

// Element i as an int32. A numpy integer, say, has its own __index__, which may run any Python code.
inline int32_t int_at(py::handle sequence, const char* name, Py_ssize_t i) {
  PyObject* item = PySequence_Fast_GET_ITEM(sequence.ptr(), i);
  py::object held;
  if (!PyLong_CheckExact(item)) {
    held = py::reinterpret_borrow<py::object>(item);
    py::object index = py::reinterpret_steal<py::object>(PyNumber_Index(item));
    if (!index) {
      PyErr_Clear();
      throw py::type_error(std::string("`") + name + "[" + std::to_string(i) + "]` must be an integer, got " +
                           Py_TYPE(item)->tp_name);
    }
    held = std::move(index);
    item = held.ptr();
  }
  int overflow = 0;
  const long long value = PyLong_AsLongLongAndOverflow(item, &overflow);
  if (overflow != 0 || value != static_cast<int32_t>(value)) {
    throw py::value_error(std::string("`") + name + "[" + std::to_string(i) + "]` must fit a 32-bit integer, got " +
                          std::string(py::str(py::handle(item))));
  }
  return static_cast<int32_t>(value);
}

inline Ints ints_from_list(py::handle sequence, const char* name) {
  require_list(sequence, name);
  const Py_ssize_t n = PySequence_Fast_GET_SIZE(sequence.ptr());
  Ints values(n);
  int32_t* out = values.mutable_data();
  for (Py_ssize_t i = 0; i < n; ++i) {
    if (i >= PySequence_Fast_GET_SIZE(sequence.ptr())) {
      throw py::value_error(std::string("`") + name + "` became shorter while it was read");
    }
    out[i] = int_at(sequence, name, i);
  }
  return values;
}

inline py::list list_from_ints(const Ints& values) {
  const int32_t* from = values.data();
  py::list list(static_cast<size_t>(values.size()));
  for (py::ssize_t i = 0; i < values.size(); ++i) {
    PyObject* value = PyLong_FromLong(from[i]);
    if (!value) throw py::error_already_set();
    PyList_SET_ITEM(list.ptr(), i, value);
  }
  return list;
}

// A list of lists as its values one after the other, and where each row begins (one entry more than rows).
inline py::tuple flatten_rows(py::handle rows) {
  require_list(rows, "cdfs");
  std::vector<int32_t> values;
  std::vector<int64_t> begin{0};
  for (Py_ssize_t k = 0; k < PySequence_Fast_GET_SIZE(rows.ptr()); ++k) {
    const auto row = py::reinterpret_borrow<py::object>(PySequence_Fast_GET_ITEM(rows.ptr(), k));
    require_list(row, "cdfs row");
    for (Py_ssize_t j = 0; j < PySequence_Fast_GET_SIZE(row.ptr()); ++j) values.push_back(int_at(row, "cdfs row", j));
    begin.push_back(static_cast<int64_t>(values.size()));
  }
  return py::make_tuple(Ints(static_cast<py::ssize_t>(values.size()), values.data()),
                        py::array_t<int64_t>(static_cast<py::ssize_t>(begin.size()), begin.data()));
}

}  // namespace pylatent::compat
