import pytest

from rheobase.models.width import scaled


def test_a_scaled_width_is_the_nearest_multiple_of_eight_and_one_changes_nothing() -> None:
    assert [scaled(64, width) for width in (0.25, 0.5, 0.6, 2)] == [16, 32, 40, 128]
    assert scaled(64, 1e-3) == 8
    assert scaled(13, 1) == 13
    with pytest.raises(ValueError, match="width > 0"):
        scaled(64, 0.0)
