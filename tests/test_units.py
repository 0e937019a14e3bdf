import pytest

from rheobase.units import energy, short, short_time, size


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (3 * 2**30, "3.00 GiB"), (5 * 2**40, "5120.00 GiB")],
)
def test_sizes_have_units_of_1024(count, text):
    assert size(count) == text


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0"), (999, "999"), (999.6, "1 k"), (12_345, "12.3 k"), (2e6, "2 M"), (3e15, "3e+03 T")]
)
def test_numbers_have_three_digits_and_a_prefix(count, text):
    assert short(count) == text


def test_energies_and_times_are_in_the_unit_that_suits_them():
    assert [energy(value) for value in (4.6, 4600, 2.5e12)] == ["4.6 pJ", "4.6 nJ", "2.5 J"]
    assert [short_time(value) for value in (0.0123, 1.5)] == ["12.3 ms", "1.5 s"]
