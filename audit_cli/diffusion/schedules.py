"""Noise schedules: alpha(t), the probability that a token survives until time t, falling from 1 to about 0.

All arithmetic is float64. Times run from `T_MIN`, the smallest noise at which the published models are evaluated,
to 1. The *level* of a time is 1 - alpha(t), the share of tokens that have been redrawn.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Protocol

import torch
from jaxtyping import Float64
from torch import Tensor

T_MIN = 1e-5

Times = Float64[Tensor, "*shape"]


class Schedule(Protocol):
    """A noise schedule. `alpha` and `alpha_derivative` (d alpha / dt) are elementwise on float64 times."""

    name: ClassVar[str]

    def alpha(self, t: Times) -> Times: ...

    def alpha_derivative(self, t: Times) -> Times: ...

    def time_of_level(self, level: float) -> float:
        """The time at which a share `level` of the tokens has been redrawn."""
        ...


@dataclass(frozen=True)
class LogLinear:
    """alpha = 1 - (1 - eps) t (SEDD, MDLM, DUO, UDLM: sigma = -log alpha, eps = 1e-3)."""

    eps: float = 1e-3
    name: ClassVar[str] = "log-linear"

    def __post_init__(self) -> None:
        _require(0 <= self.eps < 1, "eps must lie in [0, 1)")

    def alpha(self, t: Times) -> Times:
        return 1 - (1 - self.eps) * t

    def alpha_derivative(self, t: Times) -> Times:
        return torch.full_like(t, -(1 - self.eps))

    def time_of_level(self, level: float) -> float:
        return level / (1 - self.eps)


@dataclass(frozen=True)
class Linear:
    """alpha = 1 - t (the weight in UDLM's loss)."""

    name: ClassVar[str] = "linear"

    def alpha(self, t: Times) -> Times:
        return 1 - t

    def alpha_derivative(self, t: Times) -> Times:
        return torch.full_like(t, -1.0)

    def time_of_level(self, level: float) -> float:
        return level


@dataclass(frozen=True)
class Cosine:
    """alpha = 1 - cos(pi/2 (1 - (1 - eps) t)) (DUO's cosine schedule)."""

    eps: float = 1e-3
    name: ClassVar[str] = "cosine"

    def __post_init__(self) -> None:
        _require(0 <= self.eps < 1, "eps must lie in [0, 1)")

    def alpha(self, t: Times) -> Times:
        return 1 - torch.cos(torch.pi / 2 * (1 - (1 - self.eps) * t))

    def alpha_derivative(self, t: Times) -> Times:
        return -torch.pi / 2 * (1 - self.eps) * torch.sin(torch.pi / 2 * (1 - (1 - self.eps) * t))

    def time_of_level(self, level: float) -> float:
        return (1 - math.acos(level) * 2 / math.pi) / (1 - self.eps)


@dataclass(frozen=True)
class Geometric:
    """alpha = exp(-sigma_min^(1-t) sigma_max^t) (SEDD)."""

    sigma_min: float = 1e-4
    sigma_max: float = 20.0
    name: ClassVar[str] = "geometric"

    def __post_init__(self) -> None:
        _require(0 < self.sigma_min < self.sigma_max < math.inf, "0 < sigma_min < sigma_max must hold")

    def alpha(self, t: Times) -> Times:
        return torch.exp(-self._sigma(t))

    def alpha_derivative(self, t: Times) -> Times:
        sigma = self._sigma(t)
        return -sigma * math.log(self.sigma_max / self.sigma_min) * torch.exp(-sigma)

    def time_of_level(self, level: float) -> float:
        sigma = -math.log1p(-level) if level < 1 else math.inf
        return math.log(sigma / self.sigma_min) / math.log(self.sigma_max / self.sigma_min)

    def _sigma(self, t: Times) -> Times:
        return self.sigma_min ** (1 - t) * self.sigma_max**t


@dataclass(frozen=True)
class LogSnrCosine:
    """alpha between sigmoid(max_log_snr) at t = 0 and sigmoid(min_log_snr) at t = 1, falling as half a cosine.

    The sampler's grid of GIDD (dvruette/gidd-easydel, `generate`), whose networks know no time. Noise never ends
    entirely: at t = 0 a share sigmoid(-max_log_snr) is left.
    """

    min_log_snr: float = -9.0
    max_log_snr: float = 9.0
    name: ClassVar[str] = "log-snr-cosine"

    def __post_init__(self) -> None:
        _require(-30 <= self.min_log_snr < self.max_log_snr <= 30, "-30 <= min_log_snr < max_log_snr <= 30 must hold")

    @property
    def _ends(self) -> tuple[float, float]:
        """alpha at t = 1 and at t = 0."""
        return 1 / (1 + math.exp(-self.min_log_snr)), 1 / (1 + math.exp(-self.max_log_snr))

    def alpha(self, t: Times) -> Times:
        low, high = self._ends
        return low + (high - low) * (1 + torch.cos(torch.pi * t)) / 2

    def alpha_derivative(self, t: Times) -> Times:
        low, high = self._ends
        return -(high - low) * torch.pi / 2 * torch.sin(torch.pi * t)

    def time_of_level(self, level: float) -> float:
        low, high = self._ends
        return math.acos(min(1.0, max(-1.0, 2 * (1 - level - low) / (high - low) - 1))) / math.pi


@dataclass(frozen=True)
class ClippedLinear:
    """alpha falls linearly from sigmoid(max_log_snr) at t = 0 to sigmoid(-max_log_snr) at t = 1.

    Sumi's training drew alpha = 1 - u uniformly between these ends, and its sampler clips its log-SNR to them. The
    networks know no time. Noise never ends entirely: at t = 0 a share sigmoid(-max_log_snr) is left.
    """

    max_log_snr: float = 9.0
    name: ClassVar[str] = "clipped-linear"

    def __post_init__(self) -> None:
        _require(0 < self.max_log_snr <= 30, "max_log_snr must lie in (0, 30]")

    @property
    def _last(self) -> float:
        """alpha at t = 1, and 1 - alpha at t = 0."""
        return 1 / (1 + math.exp(self.max_log_snr))

    def alpha(self, t: Times) -> Times:
        return 1 - self._last - (1 - 2 * self._last) * t

    def alpha_derivative(self, t: Times) -> Times:
        return torch.full_like(t, -(1 - 2 * self._last))

    def time_of_level(self, level: float) -> float:
        return (level - self._last) / (1 - 2 * self._last)


AnySchedule = type[LogLinear] | type[Linear] | type[Cosine] | type[Geometric] | type[LogSnrCosine] | type[ClippedLinear]
SCHEDULES: dict[str, AnySchedule] = {
    schedule.name: schedule for schedule in (LogLinear, Linear, Cosine, Geometric, LogSnrCosine, ClippedLinear)
}


def schedule_from_config(config: dict[str, Any]) -> Schedule:
    """The schedule that `schedule_config` described. Raises ValueError on an unknown name or parameter."""
    parameters = dict(config)
    name = parameters.pop("name", None)
    if not isinstance(name, str) or name not in SCHEDULES:
        raise ValueError(f"unknown noise schedule {name!r}; known: {', '.join(SCHEDULES)}")
    if not all(isinstance(value, int | float) for value in parameters.values()):
        raise ValueError(f"the parameters of schedule {name!r} must be numbers")
    try:
        schedule = SCHEDULES[name](**parameters)
    except TypeError:
        raise ValueError(f"schedule {name!r} does not take {', '.join(map(repr, parameters))}") from None
    alpha = schedule.alpha(torch.linspace(T_MIN, 1, 65, dtype=torch.float64))
    _require(bool(((alpha >= 0) & (alpha < 1)).all() and (alpha.diff() < 0).all()), f"schedule {name!r} does not fall")
    return schedule


def schedule_config(schedule: Schedule) -> dict[str, Any]:
    """Name and parameters as plain JSON values."""
    return {"name": schedule.name, **asdict(schedule)}  # type: ignore[call-overload]


def alpha_at(schedule: Schedule, t: float) -> float:
    """alpha of one time; exactly 1 at t = 0, where noise removal ends."""
    return 1.0 if t == 0 else float(schedule.alpha(torch.tensor(t, dtype=torch.float64)))


def level_at(schedule: Schedule, t: float) -> float:
    """The level of a time, 1 - alpha, without the rounding noise of the subtraction."""
    return round(1 - alpha_at(schedule, t), 12)


def time_at_level(schedule: Schedule, level: float) -> float:
    """The time of a level. Raises ValueError where the schedule does not reach it between T_MIN and 1."""
    low, high = 1 - alpha_at(schedule, T_MIN), 1 - alpha_at(schedule, 1.0)
    if not low <= level <= high:
        raise ValueError(
            f"level {level:g} is outside what the {schedule.name} schedule reaches, {low:.2g} to {high:.6g}"
        )
    return min(1.0, max(T_MIN, schedule.time_of_level(level)))


def reached_time(schedule: Schedule, level: float) -> float:
    """The time of a level, or of the nearest one that the schedule reaches between T_MIN and 1."""
    return min(1.0, max(T_MIN, schedule.time_of_level(min(level, 1 - 1e-9))))


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)
