"""`uddm-audit inspect`."""

from audit_cli.cli import options, session


@session.guarded
def command(
    model: options.Model,
    weights: options.WeightsOption = None,
    device: options.Device = "cpu",
    verbose: options.Verbose = 0,
) -> None:
    """What is this checkpoint? Family, size, noise, hashes, and whether its law is what it says."""
    from audit_cli.cli.inputs import checkpoint

    checkpoint(model)

    from audit_cli.audits import inspect_model
    from audit_cli.cli.running import load
    from audit_cli.reports.model import inspect_report

    loaded = load(model, weights, device)
    info, law = inspect_model(loaded)
    size = sum(file.stat().st_size for file in model.iterdir() if file.is_file())
    session.stdout().print(inspect_report(info, law, size))
