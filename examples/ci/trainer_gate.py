"""Trains with transformers' Trainer and audits what came out, before anybody ships it.

    python examples/ci/trainer_gate.py                    16 lines, again and again: memorized, exit 1
    python examples/ci/trainer_gate.py --lines 20000      as many steps on many lines: exit 0

Each takes about a minute on two cores. It needs accelerate: .venv/bin/python -m pip install -e '.[large]'

`Diffusion` and `AuditGate` are what a training script of its own would take: any network whose checkpoint uddm-audit
can load is gated alike, with another `save`.
"""

import argparse
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

# Waiting threads that spin cost more than they gain. Read when torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
from torch import Tensor, nn
from transformers import Trainer, TrainerCallback, TrainingArguments

import audit_cli
from audit_cli.checkpoints.native import NativeConfig, build_network, save_native
from audit_cli.checkpoints.tokenizer import TextTokenizer, train_tokenizer
from audit_cli.diffusion.schedules import SCHEDULES
from audit_cli.models.additive import AdditiveConfig
from audit_cli.training.losses import resampled_cross_entropy

EXAMPLES = Path(__file__).resolve().parent.parent
LENGTH = 32
FIRST_TIME = 1e-3
# Of the training text so many lines are audited.
AUDITED = 24


class Lines(torch.utils.data.Dataset):
    """Lines of text as rows of at most `LENGTH` tokens."""

    def __init__(self, lines: Sequence[str], tokenizer: TextTokenizer) -> None:
        self.rows = [torch.tensor(ids[:LENGTH]) for line in lines if (ids := tokenizer.encode(line))]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Tensor:
        return self.rows[index]


def collate(rows: Sequence[Tensor]) -> dict[str, Tensor]:
    """Rows of one length, and which of their tokens are real."""
    tokens = nn.utils.rnn.pad_sequence(list(rows), batch_first=True)
    lengths = torch.tensor([len(row) for row in rows])
    return {"tokens": tokens, "real": torch.arange(tokens.shape[1]) < lengths[:, None]}


class Diffusion(nn.Module):
    """A network and its loss, as a Trainer wants it: a batch in, `loss` out."""

    def __init__(self, config: NativeConfig) -> None:
        super().__init__()
        # Not `config`: a Trainer takes that for a transformers configuration.
        self.schedule, self.vocab_size = config.schedule, config.backbone.vocab_size
        self.network = build_network(config)

    def forward(self, tokens: Tensor, real: Tensor) -> dict[str, Tensor]:
        count, device = len(tokens), tokens.device
        # A time a row, spread evenly over the batch; a token is drawn anew with the probability of that time.
        stratum = (torch.arange(count, device=device) + torch.rand(count, device=device)) / count
        alpha = self.schedule.alpha(FIRST_TIME + (1 - FIRST_TIME) * stratum)
        drawn = torch.randint_like(tokens, self.vocab_size)
        resampled = (torch.rand(tokens.shape, device=device) >= alpha[:, None]) & real
        hidden = self.network(torch.where(resampled, drawn, tokens), (1 - alpha).float(), real)
        return {"loss": resampled_cross_entropy(self.network.head(hidden), tokens, resampled)}


class AuditGate(TrainerCallback):
    """When training ends: save the checkpoint, load it as anybody would, and ask whether it may ship.

    `save` writes the network into a folder, `more` goes to `audit_cli.check`: fail_on, fdr, baseline, key and so on.
    The script ends with `exit_code`; what was found is `report`.
    """

    def __init__(
        self,
        texts: Sequence[str],
        heldout: Sequence[str],
        folder: Path,
        save: Callable[[Path, nn.Module], None],
        **more: Any,
    ) -> None:
        self.texts, self.heldout, self.folder, self.save, self.more = texts, heldout, folder, save, more
        # What was not audited has not passed.
        self.exit_code = 3
        self.report: audit_cli.GateReport | None = None

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        # Where many processes train one network, one of them audits it.
        if not state.is_world_process_zero:
            self.exit_code = 0
            return
        self.save(self.folder, kwargs["model"])
        model = audit_cli.load(self.folder, device=args.device)
        self.report = audit_cli.check(model, self.texts, self.heldout, **self.more)
        self.exit_code = self.report.exit_code
        print(*told(self.report), sep="\n")


def told(report: audit_cli.GateReport) -> list[str]:
    """The decision and what it rests on, in lines."""
    verdicts = Counter(str(result.judgement.verdict) for result in report.sets[0].report.results if result.judgement)
    found = ", ".join(f"{count} {verdict}" for verdict, count in verdicts.most_common())
    reasons = [f"  {reason.message}" for reason in report.reasons]
    return [f"audit: {found}", *reasons, f"exit {report.exit_code}"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", type=Path, default=EXAMPLES / "train.txt", help="training text, a line each")
    parser.add_argument("--heldout", type=Path, default=EXAMPLES / "heldout.txt", help="like text, not in it")
    parser.add_argument("--lines", type=int, default=16, help="train on so many")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--restarts", type=int, default=4, help="of the audit")
    parser.add_argument("--folder", type=Path, help="of the checkpoint; without it, one that is thrown away")
    asked = parser.parse_args()

    every = asked.text.read_text(encoding="utf-8").splitlines()
    heldout = asked.heldout.read_text(encoding="utf-8").splitlines()
    lines = every[: asked.lines]
    tokenizer = train_tokenizer("char", every, "cut", "letters")
    with tempfile.TemporaryDirectory() as scratch:
        torch.manual_seed(0)
        config = NativeConfig("additive", AdditiveConfig(tokenizer.size, LENGTH), SCHEDULES["log-linear"]())

        def save(folder: Path, model: nn.Module) -> None:
            weights = {name: tensor.detach() for name, tensor in model.network.state_dict().items()}
            save_native(folder, config, tokenizer, weights)

        folder = asked.folder or Path(scratch) / "checkpoint"
        gate = AuditGate(lines[:AUDITED], heldout, folder, save, restarts=asked.restarts)
        settings = TrainingArguments(
            output_dir=scratch,
            max_steps=asked.steps,
            per_device_train_batch_size=16,
            learning_rate=5e-3,
            lr_scheduler_type="cosine",
            warmup_steps=50,
            adam_beta2=0.98,
            weight_decay=0.01,
            use_cpu=not torch.cuda.is_available(),
            # The loss is the network's own, and so are the names of its batch.
            remove_unused_columns=False,
            save_strategy="no",
            logging_strategy="no",
            report_to=[],
            disable_tqdm=not sys.stderr.isatty(),
            seed=0,
        )
        trainer = Trainer(Diffusion(config), settings, collate, Lines(lines, tokenizer), callbacks=[gate])
        trainer.train()
    return gate.exit_code


if __name__ == "__main__":
    sys.exit(main())
