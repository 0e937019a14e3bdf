"""Channel counts of a net that is thinner or wider than the paper's."""


def scaled(channels: int, width: float) -> int:
    """`channels` times `width`, rounded to a multiple of 8, at least 8; as they are at width 1."""
    if not width > 0:
        raise ValueError(f"Expected width > 0, a factor on all channel counts with 1 for the paper's, got {width}.")
    return channels if width == 1 else max(8, 8 * round(channels * width / 8))
