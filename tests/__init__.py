import pytest

# Helpers may assert as tests do.
pytest.register_assert_rewrite("tests.support")
