"""`uddm-audit inspect`."""

from pathlib import Path

from audit_cli.cli import options, session


@session.guarded
def command(
    model: options.Model,
    weights: options.WeightsOption = None,
    tokenizer: options.TokenizerOption = None,
    device: options.Device = "cpu",
    dtype: options.DtypeOption = None,
    verbose: options.Verbose = 0,
) -> None:
    """What is this checkpoint? Family, size, noise, hashes, and whether its law is what it says."""
    with session.loading():
        from audit_cli.cli.inputs import checkpoint

    checkpoint(model)

    with session.loading():
        from audit_cli.audits import inspect_model
        from audit_cli.cli.running import load
        from audit_cli.reports.model import inspect_report

    loaded = load(model, weights, device, tokenizer, dtype)
    info, law, dynamics = inspect_model(loaded)
    session.stdout().print(inspect_report(info, law, dynamics, _size(model)))


def _size(model: Path) -> int | None:
    """Bytes of the checkpoint's files; unknown of one on the hub."""
    if model.is_dir():
        return sum(file.stat().st_size for file in model.iterdir() if file.is_file())
    return model.stat().st_size if model.is_file() else None
