"""What a command said on standard error."""


def without_numpy_warning(stderr):
    """Less the line that pure-Python runs begin with, once a process."""
    lines = stderr.splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith("pylatent: warning: the entropy coder runs in NumPy"))
