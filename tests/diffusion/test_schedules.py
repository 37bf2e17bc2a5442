import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from audit_cli.diffusion.schedules import (
    SCHEDULES,
    T_MIN,
    ClippedLinear,
    Cosine,
    Geometric,
    LogLinear,
    alpha_at,
    schedule_config,
    schedule_from_config,
    time_at_level,
)

ALL = [schedule() for schedule in SCHEDULES.values()]


@pytest.mark.parametrize("schedule", ALL, ids=lambda s: s.name)
def test_alpha_falls_from_one_to_about_zero(schedule):
    alpha = schedule.alpha(torch.linspace(T_MIN, 1, 1001, dtype=torch.float64))
    assert bool((alpha.diff() < 0).all())
    assert alpha[0] > 0.999
    assert 0 <= alpha[-1] <= 1.1e-3


@pytest.mark.parametrize("schedule", ALL, ids=lambda s: s.name)
def test_the_derivative_is_the_slope_of_alpha(schedule):
    t = torch.linspace(0.01, 0.99, 99, dtype=torch.float64)
    h = 1e-6
    slope = (schedule.alpha(t + h) - schedule.alpha(t - h)) / (2 * h)
    torch.testing.assert_close(schedule.alpha_derivative(t), slope, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("schedule", ALL, ids=lambda s: s.name)
@given(level=st.floats(0.001, 0.99))
def test_the_time_of_a_level_has_that_level(schedule, level):
    assert 1 - alpha_at(schedule, time_at_level(schedule, level)) == pytest.approx(level, abs=1e-12)


@pytest.mark.parametrize(
    "schedule", [*ALL, LogLinear(1e-2), Cosine(1e-4), Geometric(1e-3, 10), ClippedLinear(5)], ids=str
)
def test_a_schedule_survives_its_configuration(schedule):
    assert schedule_from_config(schedule_config(schedule)) == schedule


def test_published_log_linear_values():
    # sigma = -log1p(-(1 - eps) t), alpha = exp(-sigma), eps = 1e-3.
    assert alpha_at(LogLinear(), 0.25) == pytest.approx(0.75025, abs=1e-15)
    assert alpha_at(LogLinear(), 1.0) == pytest.approx(1e-3, abs=1e-15)
    assert alpha_at(LogLinear(), 0) == 1.0


def test_clipped_linear_is_linear_between_its_log_snrs():
    schedule, t = ClippedLinear(), torch.linspace(0, 1, 129, dtype=torch.float64)
    alpha = schedule.alpha(t)
    log_snr = torch.logit(alpha)
    assert float(log_snr[0]) == pytest.approx(9, abs=1e-9)
    assert float(log_snr[-1]) == pytest.approx(-9, abs=1e-9)
    torch.testing.assert_close(alpha, torch.lerp(alpha[0], alpha[-1], t), rtol=0, atol=1e-15)
    # Sumi's sampler: alpha = linspace(1e-4, 1 - 1e-4), its log-SNR clipped; nowhere further off than the clipping.
    grid = torch.linspace(1e-4, 1 - 1e-4, 129, dtype=torch.float64)
    theirs = torch.logit(grid).clamp(-9, 9).sigmoid().flip(0)
    torch.testing.assert_close(alpha, theirs, rtol=0, atol=2.4e-5)


@pytest.mark.parametrize(
    "config",
    [
        {"name": "quadratic"},
        {},
        {"name": "linear", "eps": 0.1},
        {"name": "cosine", "eps": 2},
        {"name": "geometric", "sigma_min": -1},
        {"name": "log-linear", "eps": "small"},
        {"name": "clipped-linear", "max_log_snr": 0},
    ],
)
def test_a_wrong_configuration_is_refused(config):
    with pytest.raises(ValueError, match=r"schedule|eps|sigma|snr"):
        schedule_from_config(config)


def test_a_level_out_of_reach_is_refused():
    with pytest.raises(ValueError, match="outside what the geometric schedule reaches"):
        time_at_level(Geometric(sigma_max=1.0), 0.75)
