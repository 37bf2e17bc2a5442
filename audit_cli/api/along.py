"""The reverse process for programs."""

from audit_cli.api.parts import AnyTexts, AsWarnings, Protocol, check_run, checked, read_again, require
from audit_cli.audits.trajectory import TrajectorySettings
from audit_cli.audits.trajectory import trajectory as measured
from audit_cli.checkpoints import LoadedModel
from audit_cli.diffusion.schedules import T_MIN
from audit_cli.records import Trajectory


def trajectory(
    model: LoadedModel,
    texts: AnyTexts | None = None,
    *,
    samples: int = 256,
    t: float | None = None,
    steps: int | None = None,
    protocol: Protocol = "default",
    seed: int = 0,
    batch_size: int | None = None,
) -> Trajectory:
    """What the model predicts at every step of the ancestral reverse process: entropy, certainty, interaction.

    Without `texts` of `samples` rows that it writes from pure noise; else of the texts, each corrupted at time `t`,
    from which they go back. Of a long text one window is measured, of equal texts one. `steps` (16) are those of the
    whole range of times; protocol "paper" has 1000. `frame` makes a table of the steps, and
    `pandas.DataFrame(found.positions)` one of steps and positions. Measures before it returns.

    Raises ValueError on settings that contradict each other or the model, UnauditableModel where no text can be
    measured, FloatingPointError where the network's output is not a number.
    """
    check_run(protocol, 0.05, seed, batch_size)
    require(samples > 0, f"samples must be at least 1, not {samples}")
    require(steps is None or steps > 0, f"steps must be at least 1, not {steps}")
    require(steps is None or protocol != "paper", 'protocol "paper" has its own steps')
    if texts is None:
        require(t in (None, 1), "without texts the process starts from pure noise, at t = 1")
    else:
        require(t is not None, "texts are corrupted at a time t, from which the process starts: say which")
    start = 1.0 if t is None else t
    require(T_MIN < start <= 1, f"t is a diffusion time above {T_MIN:g} and at most 1, not {t}")
    settings = TrajectorySettings(0 if texts is not None else samples, start, steps, protocol, seed, batch_size)
    return measured(model, None if texts is None else read_again(checked(texts)), settings, AsWarnings())
