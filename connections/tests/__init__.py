import pytest

# Their assertions are to explain themselves as those of test modules do.
pytest.register_assert_rewrite(
    *(f"{__name__}.contract_{part}" for part in ("reading", "writing", "telling", "wire")),
)
