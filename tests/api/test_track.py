"""The track of a training from Python: any loop, networks in memory, and transformers' Trainer."""

import importlib.util
import math
import sys

import pytest
import torch
from safetensors.torch import load_file
from transformers import Trainer, TrainingArguments

import audit_cli
from audit_cli.checkpoints.native import NativeConfig, build_network, save_native
from audit_cli.diffusion.schedules import LogLinear
from audit_cli.models.additive import AdditiveConfig
from tests.short_run import (
    CONFIG,
    EVERY,
    EXAMPLES,
    HELDOUT,
    LEARNED,
    STEPS,
    TOKENIZER,
    checkpoints,
    cut_off,
    spoiled,
    steps_of,
)

QUICK = {"samples": 8, "texts": 40, "restarts": 1}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return checkpoints(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def gate():
    """The example of a training with transformers, as a module."""
    spec = importlib.util.spec_from_file_location("trainer_gate", EXAMPLES / "ci" / "trainer_gate.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


class TestTracker:
    def test_it_looks_from_within_a_loop(self, tmp_path):
        tracker = audit_cli.Tracker(LEARNED, HELDOUT[:60], **QUICK)
        for done in steps_of(tmp_path):
            if done.step % EVERY == 0 and done.step < STEPS:
                row = tracker.look(tmp_path, f"step-{done.step}")
                assert row is tracker.rows[-1]
        assert [row.name for row in tracker.rows] == ["step-30", "step-60", "step-90"]
        assert [row.bound for row in tracker.rows] == pytest.approx([6 * 0.05 / (math.pi * k) ** 2 for k in (1, 2, 3)])
        assert tracker.first is next(row for row in tracker.rows if row.p_value <= row.bound)
        gaps = [row.gap.value for row in tracker.rows]
        assert gaps == sorted(gaps)

    def test_a_path_a_model_and_a_network_in_memory_say_the_same(self, run):
        network = build_network(CONFIG)
        network.load_state_dict(load_file(run[2] / "model.safetensors"))
        found = []
        for model in (run[2], str(run[2]), audit_cli.load(run[2]), audit_cli.from_network(network, CONFIG, TOKENIZER)):
            row = audit_cli.Tracker(LEARNED, HELDOUT[:60], looks=2, **QUICK).look(model, "one")
            found.append((row.weights_sha256, row.p_value, row.gap, row.recovery_gap, row.entropy, row.bound))
        assert found == [found[0]] * 4

    def test_a_network_in_memory_stays_as_it_is(self, run):
        network = build_network(CONFIG).train()
        before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        state = torch.get_rng_state()
        model = audit_cli.from_network(network, CONFIG, TOKENIZER, "now")
        audit_cli.Tracker(LEARNED, HELDOUT[:30], **QUICK).look(model)
        assert network.training and all(p.requires_grad for p in network.parameters())
        assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
        assert torch.equal(state, torch.get_rng_state())
        # And the model is not what the network becomes.
        with torch.no_grad():
            network.head.bias.add_(1)
        assert torch.equal(model.denoiser.network.head.bias, before["head.bias"])

    def test_a_network_of_half_precision_is_taken_in_single(self):
        network = build_network(CONFIG)
        half = audit_cli.from_network(network.to(torch.bfloat16), CONFIG, TOKENIZER)
        whole = audit_cli.from_network(network.float(), CONFIG, TOKENIZER)
        assert half.info.weights_sha256 == whole.info.weights_sha256
        assert half.denoiser.head.weight.dtype == torch.float32

    def test_a_network_of_another_configuration_is_refused(self):
        network = build_network(NativeConfig("additive", AdditiveConfig(TOKENIZER.size, 16, 32, 1, 2), LogLinear()))
        with pytest.raises(ValueError, match="now: its tensors are not those of its configuration"):
            audit_cli.from_network(network, CONFIG, TOKENIZER, "now")
        with torch.device("meta"), pytest.raises(ValueError, match="now: its tensors have no values yet"):
            audit_cli.from_network(build_network(CONFIG), CONFIG, TOKENIZER, "now")

    def test_one_that_cannot_be_loaded_is_a_row(self, run, tmp_path):
        tracker = audit_cli.Tracker(LEARNED, HELDOUT[:60], **QUICK)
        assert "no such file" in tracker.look(tmp_path / "nowhere").reason
        assert "damaged" in tracker.look(cut_off(run[0], tmp_path / "torn")).reason
        assert "not a number" in tracker.look(spoiled(run[0], tmp_path / "inf", 3e38), "inf").reason
        assert tracker.look(run[3]).look == 1
        assert [row.look for row in tracker.report().rows] == [0, 0, 0, 1]

    def test_models_of_two_trainings_are_told_by_both_names(self, run):
        tracker = audit_cli.Tracker(LEARNED, HELDOUT[:60], **QUICK)
        tracker.look(run[0], "mine")
        with pytest.raises(audit_cli.TrackError, match=r"mine and .*memorizing are no checkpoints of one training"):
            tracker.look(EXAMPLES / "memorizing")

    def test_a_reference_is_asked(self, run):
        tracker = audit_cli.Tracker(LEARNED, HELDOUT[:60], reference_model=audit_cli.load(run[0]), **QUICK)
        first, later = tracker.look(run[0]), tracker.look(run[3])
        assert (first.p_value, first.gap.value) == (1.0, pytest.approx(0, abs=1e-9))
        assert later.significant
        other = audit_cli.Tracker(LEARNED, HELDOUT[:60], reference_model=audit_cli.load(EXAMPLES / "realistic"))
        with pytest.raises(ValueError, match="another tokenizer"):
            other.look(run[0])

    def test_the_table_is_that_of_the_command_line(self, run, tmp_path):
        tracker = audit_cli.Tracker(LEARNED, HELDOUT[:60], looks=1, **QUICK)
        with pytest.raises(audit_cli.TrackError):
            tracker.report()
        tracker.look(run[3])
        assert tracker.write(tmp_path / "o.csv") == [tmp_path / "o.csv", tmp_path / "o.meta.json"]
        assert (tmp_path / "o.csv").read_text().count("\n") == 2

    @pytest.mark.parametrize(
        ("more", "error"),
        [
            ({"alpha": 0}, ValueError),
            ({"alpha": math.nan}, ValueError),
            ({"looks": 0}, ValueError),
            ({"looks": 1.5}, ValueError),
            ({"samples": True}, ValueError),
            ({"seed": -1}, ValueError),
            ({"text": "a single string"}, TypeError),
        ],
    )
    def test_settings_are_checked_at_once(self, more, error):
        with pytest.raises(error):
            audit_cli.Tracker(**{"text": LEARNED, "heldout": HELDOUT} | more)


class TestTrainer:
    """Real trainings with transformers' Trainer, of 60 steps with a checkpoint every 20."""

    STEPS, EVERY = 60, 20

    def trained(self, gate, home, callbacks, kind=Trainer):
        torch.manual_seed(0)
        settings = TrainingArguments(
            output_dir=str(home),
            max_steps=self.STEPS,
            save_steps=self.EVERY,
            per_device_train_batch_size=8,
            learning_rate=2e-2,
            use_cpu=True,
            remove_unused_columns=False,
            logging_strategy="no",
            report_to=[],
            disable_tqdm=True,
            seed=0,
        )
        trainer = kind(
            gate.Diffusion(CONFIG), settings, gate.collate, gate.Lines(LEARNED, TOKENIZER), callbacks=callbacks
        )
        trainer.train()
        return trainer

    @staticmethod
    def load(folder):
        """A checkpoint as the Trainer writes it of any module: the tensors of `Diffusion`, which holds the network."""
        network = build_network(CONFIG)
        tensors = load_file(folder / "model.safetensors")
        network.load_state_dict({name.removeprefix("network."): tensor for name, tensor in tensors.items()})
        return audit_cli.from_network(network, CONFIG, TOKENIZER, str(folder))

    def test_every_checkpoint_that_is_saved_is_looked_at_and_the_training_is_the_same(self, gate, tmp_path):
        home = tmp_path / "watched"
        with pytest.warns(UserWarning, match="better known than held-out text"):
            callback = audit_cli.TrackCallback(
                LEARNED, HELDOUT[:60], load=self.load, output=tmp_path / "o.csv", looks=3, **QUICK
            )
            watched = self.trained(gate, home, [callback])
        rows = callback.tracker.rows
        assert [row.name for row in rows] == ["checkpoint-20", "checkpoint-40", "checkpoint-60"]
        assert [row.bound for row in rows] == [pytest.approx(0.05 / 3)] * 3
        assert rows[-1].significant and rows[-1].gap.value > rows[0].gap.value
        assert (tmp_path / "o.csv").read_text().count("\n") == 4
        alone = audit_cli.Tracker(LEARNED, HELDOUT[:60], looks=3, **QUICK).look(self.load(home / "checkpoint-40"))
        assert (alone.p_value, alone.gap) == (rows[1].p_value, rows[1].gap)
        unwatched = self.trained(gate, tmp_path / "unwatched", [])
        for one, other in zip(watched.model.parameters(), unwatched.model.parameters(), strict=True):
            assert torch.equal(one, other)

    def test_checkpoints_that_load_reads_need_no_function_and_the_training_can_be_ended(self, gate, tmp_path):
        class Native(Trainer):
            """Writes what `audit_cli.load` reads."""

            def _save(self, output_dir=None, state_dict=None):
                weights = {name: tensor.detach() for name, tensor in self.model.network.state_dict().items()}
                save_native(gate.Path(output_dir), CONFIG, TOKENIZER, weights)

        callback = audit_cli.TrackCallback(LEARNED, HELDOUT[:60], stop=True, **QUICK)
        with pytest.warns(UserWarning, match="better known than held-out text"):
            trainer = self.trained(gate, tmp_path, [callback], Native)
        first = callback.tracker.first
        assert first is callback.tracker.rows[-1]
        assert first.name == f"checkpoint-{trainer.state.global_step}"
        assert audit_cli.load(tmp_path / first.name).info.weights_sha256 == first.weights_sha256

    def test_a_look_that_fails_ends_no_training(self, gate, tmp_path):
        def broken(folder):
            raise KeyError("a text that nobody should see")

        for load, says in ((None, "no config.json, so no checkpoint; `load` takes"), (broken, "unforeseen KeyError")):
            callback = audit_cli.TrackCallback(LEARNED, HELDOUT[:60], load=load, **QUICK)
            with pytest.warns(UserWarning, match=says) as told:
                trainer = self.trained(gate, tmp_path / str(load is None), [callback])
            assert trainer.state.global_step == self.STEPS
            assert [row.look for row in callback.tracker.rows] == [0, 0, 0]
            assert len(told) == 3 and "nobody" not in str(callback.tracker.rows)


def test_neither_name_loads_transformers_before_it_is_used():
    import subprocess

    code = "import sys, audit_cli; audit_cli.Tracker; sys.exit('transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
