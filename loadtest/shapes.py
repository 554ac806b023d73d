"""Shapes of a load test: functions from the share of its time to a factor of `--users`."""


def steady(_share: float) -> float:
    """A constant number of users."""
    return 1.0


def ramp(share: float) -> float:
    """Rises to the number of users in ten steps, the last of them after nine tenths of the time."""
    return (1 + int(share * 10)) / 10


def spike(share: float) -> float:
    """Has four times as many users in the third fifth of the time."""
    return 4.0 if 0.4 <= share < 0.6 else 1.0


SHAPES = {"steady": steady, "ramp": ramp, "spike": spike}
