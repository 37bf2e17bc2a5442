"""DiffusionGemma: a small random network of transformers' own class, its logits and its `generate` beside ours."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from scipy.stats import chi2_contingency

from audit_cli.audits import BasinSettings, EntropySettings, audit_basins, audit_entropy
from audit_cli.audits.trajectory import TrajectorySettings, trajectory
from audit_cli.checkpoints import CheckpointError, UnauditableModel, load_model
from audit_cli.diffusion.corruption import Starts
from audit_cli.diffusion.denoiser import Law, prompted
from audit_cli.diffusion.entropy_bound import EntropyBound
from audit_cli.diffusion.randomness import Purpose, sequence_key, stream_word
from audit_cli.records import Candidate, Skipped, Status, Verdict
from audit_cli.redaction import Redaction, ShowText
from audit_cli.verdicts.judge import CONSTANT

V, CANVAS = 12, 6
PROMPT = (2, 5, 7, 3, 9)


@pytest.fixture(scope="module")
def transformers():
    return pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def network(transformers):
    """A random network whose predictions are sure of something."""
    torch.manual_seed(3)
    text = transformers.DiffusionGemmaTextConfig(
        vocab_size=V,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        sliding_window=4,
        layer_types=["sliding_attention", "full_attention"],
        num_experts=3,
        top_k_experts=2,
        moe_intermediate_size=8,
        global_head_dim=8,
        num_global_key_value_heads=1,
        max_position_embeddings=64,
    )
    vision = transformers.Gemma4VisionConfig(
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=8,
        position_embedding_size=16,
    )
    config = transformers.DiffusionGemmaConfig(
        text_config=text, vision_config=vision, canvas_length=CANVAS, boi_token_id=9, eoi_token_id=10, image_token_id=11
    )
    made = transformers.DiffusionGemmaForBlockDiffusion(config).eval()
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if parameter.ndim > 1 and "vision" not in name:
                parameter.normal_(std=0.9 if "embed" in name else 0.4)
    return made


@pytest.fixture
def folder(network, tmp_path):
    network.save_pretrained(tmp_path / "gemma")
    return tmp_path / "gemma"


def test_logits_are_those_of_the_class_under_a_prompt_and_without_one(network, folder):
    model = load_model(folder)
    canvas = torch.randint(0, V, (5, CANVAS), generator=torch.Generator().manual_seed(0))
    for prompt in (PROMPT, (2,)):
        given = torch.tensor(prompt)[None].expand(5, -1)
        want = network(input_ids=given, decoder_input_ids=canvas).logits
        # A prompt begins with the first token, whether it was written down or not.
        for written in {prompt, prompt[1:]}:
            denoiser = prompted(model.denoiser, written)
            hidden = denoiser.hidden(canvas, torch.full((5,), 0.5, dtype=torch.float64))
            got = denoiser.head.logits(hidden.flatten(0, 1)).view_as(want)
            torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5)
    assert want.std() > 1


def test_the_last_prediction_is_handed_on_as_the_class_does(network, folder):
    denoiser = prompted(load_model(folder).denoiser, PROMPT)
    canvas = torch.randint(0, V, (4, CANVAS), generator=torch.Generator().manual_seed(1))
    last = 3 * torch.randn(4, CANVAS, V, generator=torch.Generator().manual_seed(2))
    want = network(
        input_ids=torch.tensor(PROMPT)[None].expand(4, -1), decoder_input_ids=canvas, self_conditioning_logits=last
    ).logits
    soft = denoiser.soften(last.softmax(-1).flatten(0, 1)).view(4, CANVAS, -1)
    t = torch.full((4,), 0.5, dtype=torch.float64)
    got = denoiser.head.logits(denoiser.hidden_after(canvas, t, soft).flatten(0, 1)).view_as(want)
    torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5)
    without = denoiser.head.logits(denoiser.hidden(canvas, t).flatten(0, 1)).view_as(want)
    assert (without - want).abs().max() > 0.1


def starts(canvas, count):
    """So many rows that begin at one canvas, under numbers of their own."""
    tokens = torch.tensor(canvas).expand(count, -1)
    key = torch.tensor(sequence_key(5, canvas)).expand(count, 2)
    return Starts(
        tokens=tokens.clone(),
        clean=tokens.clone(),
        free=torch.ones_like(tokens, dtype=torch.bool),
        time=torch.full((count,), 0.5, dtype=torch.float64),
        key=key,
        stream=torch.tensor([stream_word(Purpose.REVERSE, r) for r in range(count)]),
        level=torch.zeros(count, dtype=torch.int64),
    )


@pytest.mark.parametrize(("steps", "bound"), [(1, 0.1), (3, 0.5), (8, 3.0)])
def test_the_loop_and_generate_agree_in_distribution(transformers, network, folder, steps, bound):
    """Both from one canvas, 2,000 times: where rows end, as a table of two histograms.

    With the fixed seeds it passes or fails for good; a correct loop fails with other seeds one time in a thousand.
    """
    from transformers.models.diffusion_gemma.generation_diffusion_gemma import EntropyBoundSamplerConfig

    count, canvas = 2000, (1, 4, 8, 0, 3, 6)
    torch.manual_seed(0)
    theirs = network.generate(
        torch.tensor(PROMPT)[None].expand(count, -1),
        decoder_input_ids=torch.tensor(canvas).expand(count, -1),
        max_new_tokens=CANVAS,
        max_denoising_steps=steps,
        sampler_config=EntropyBoundSamplerConfig(entropy_bound=bound),
        t_min=0.4,
        t_max=0.8,
        stability_threshold=1,
        confidence_threshold=0.005,
    ).sequences[:, len(PROMPT) :]
    denoiser = prompted(load_model(folder).denoiser, PROMPT)
    loop = EntropyBound(steps, bound)
    ours = loop.run(denoiser, starts(canvas, count), 256).tokens
    if steps == 1:
        # The result is the argmax: no number is drawn.
        assert torch.equal(ours, theirs)
        return
    ends = [[tuple(row) for row in rows.tolist()] for rows in (ours, theirs)]
    common = [end for end in set(ends[0] + ends[1]) if (ends[0] + ends[1]).count(end) >= 20]
    table = np.array([[rows.count(end) for end in common] for rows in ends])
    table = np.hstack([table, count - table.sum(1, keepdims=True)])
    table = table[:, table.sum(0) > 0]
    assert table.shape[1] > 3
    assert chi2_contingency(table).pvalue > 1e-3


def test_frozen_positions_stay_and_rows_do_not_depend_on_their_batch(folder):
    denoiser = prompted(load_model(folder).denoiser, PROMPT)
    begin = starts((1, 4, 8, 0, 3, 6), 24)
    begin.free[:, 2:4] = False
    one, other = (EntropyBound(6, 2.0).run(denoiser, begin, size) for size in (24, 7))
    assert torch.equal(one.tokens, other.tokens)
    assert bool((one.tokens[:, 2:4] == torch.tensor([8, 0])).all())
    assert len(torch.unique(one.tokens, dim=0)) > 1
    assert int(one.evaluations.max()) <= 6


def test_what_is_known_of_it(folder):
    model = load_model(folder)
    assert model.denoiser.law is Law.POSTERIOR
    assert (model.info.family, model.info.law, model.info.schedule) == ("diffusion_gemma", "posterior", "linear")
    assert (model.sampling.dynamics, model.sampling.entropy_bound) == ("entropy-bound", EntropyBound())
    assert model.info.precision == "float32"
    narrow = load_model(folder, dtype=torch.bfloat16)
    assert narrow.info.precision == "bfloat16"
    assert narrow.info.weights_sha256 != model.info.weights_sha256


def test_the_precision_of_its_files_is_kept(network, folder, tmp_path):
    network.to(torch.bfloat16).save_pretrained(tmp_path / "half")
    network.float()
    assert load_model(tmp_path / "half").info.precision == "bfloat16"
    assert load_model(tmp_path / "half", dtype=torch.float32).info.precision == "float32"


def test_long_texts_are_blocks_each_after_those_before_it(folder):
    model = load_model(folder)
    ids = tuple(i % V for i in range(15))
    first, second, third = model.rows(Candidate("f", 1, "f:1", token_ids=ids))
    assert [row.tokens for row in (first, second, third)] == [ids[:6], ids[6:12], ids[9:]]
    assert [row.prompt for row in (first, second, third)] == [(), ids[:6], ids[:9]]
    too_long = model.rows(Candidate("f", 1, "f:1", token_ids=ids * 5))
    assert isinstance(too_long, Skipped)
    assert "context of 63" in too_long.reason


def texts(count, seed):
    rng = np.random.default_rng(seed)
    return [Candidate("f", i, f"f:{i}", token_ids=tuple(rng.integers(0, V, 6).tolist())) for i in range(1, count + 1)]


def test_basins_are_judged_by_what_returns_and_entropy_is_not_judged(folder):
    model = load_model(folder)
    redaction = Redaction(ShowText.NONE, b"key")
    found = audit_basins(model, texts(3, 0), texts(25, 1), BasinSettings(restarts=2, steps=3), redaction)
    assert found.run.settings["recipe"] == "basin-area"
    assert (found.run.settings["sampler"], found.run.settings["steps"]) == ("entropy-bound", 3)
    # Nothing returns from an untrained network, held-out text neither, and then an area tells nothing.
    assert CONSTANT in {r.judgement.reason for r in found.results}
    found = audit_entropy(model, texts(3, 0), texts(25, 1), EntropySettings(), redaction)
    assert {r.judgement.verdict for r in found.results} == {Verdict.INCONCLUSIVE}
    assert {r.entropy.draws for r in found.results} == {1}
    assert all(r.status is Status.MEASURED for r in found.results)


@pytest.mark.parametrize("sampler", ["ancestral", "one-shot", "posterior-argmax"])
def test_other_dynamics_can_be_asked_for(folder, sampler):
    redaction = Redaction(ShowText.NONE, b"key")
    settings = BasinSettings(restarts=2, levels=(0.25, 0.5), sampler=sampler)
    found = audit_basins(load_model(folder), texts(2, 0), None, settings, redaction)
    assert all(r.basin_measurement.levels[0].restarts == 2 for r in found.results)


def test_the_attractor_is_refused(folder):
    with pytest.raises(ValueError, match="fixed point"):
        BasinSettings(sampler="attractor").settled(load_model(folder))


def changed(folder, **values):
    file = folder / "config.json"
    config = json.loads(file.read_text())
    for key, value in values.items():
        where, _, name = key.rpartition("__")
        (config[where] if where else config)[name] = value
    file.write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"canvas_length": 0}, "canvas_length"),
        ({"canvas_length": None}, "canvas_length"),
        ({"text_config": []}, "text_config"),
        ({"text_config__num_hidden_layers": 10**9}, "num_hidden_layers"),
        ({"text_config__num_hidden_layers": 3, "text_config__layer_types": None}, "missing|no such network"),
        ({"text_config__hidden_size": 32}, "shape|missing"),
        ({"text_config__vocab_size": "many"}, "vocab_size"),
        ({"text_config__hidden_activation": "__import__"}, "hidden_activation"),
        ({"text_config__bos_token_id": 99}, "bos_token_id|no such network"),
        ({"quantization_config": {"bits": 4}}, "quantised"),
        ({"text_config__quantization_config": {"quant_method": "fp8", "dequantize": True}}, "quantised"),
        ({"vision_config__quantization_config": {}}, "quantised"),
        ({"text_config__final_logit_softcapping": "x"}, "final_logit_softcapping"),
        ({"text_config__final_logit_softcapping": 0}, "final_logit_softcapping"),
        ({"text_config__top_k_experts": -1}, "top_k_experts"),
        ({"text_config__top_k_experts": 4}, "top_k_experts"),
        ({"text_config__sliding_window": 0}, "sliding_window"),
        ({"text_config__rms_norm_eps": 1e308}, "rms_norm_eps"),
        ({"text_config__layer_types": ["full_attention"]}, "layer_types"),
        ({"text_config__layer_types": ["full_attention", ["x"]]}, "layer_types"),
        ({"text_config__rope_parameters": {"full_attention": {"rope_type": "dynamic"}}}, "rope_type"),
        ({"text_config__rope_parameters": {"full_attention": {"rope_theta": "x"}}}, "rope_theta"),
        ({"text_config__rope_parameters": []}, "rope_parameters"),
        ({"text_config__per_layer_config": {"9": {}}}, "per_layer_config"),
        ({"text_config__per_layer_config": {"1": {"evil": 1}}}, "per_layer_config"),
        ({"text_config__attention_bias": "yes"}, "attention_bias"),
        ({"tie_word_embeddings": 1}, "tie_word_embeddings"),
    ],
)
def test_a_damaged_configuration_is_refused(folder, values, message):
    changed(folder, **values)
    with pytest.raises(CheckpointError, match=message):
        load_model(folder)


@pytest.mark.parametrize(
    "tower",
    [
        {"model_type": "blip_vision_model", "auto_map": {"AutoModel": "evil.Evil"}, "hidden_size": 16},
        {"model_type": "gpt_neo", "max_position_embeddings": 10**6},
        {"model_type": "detr", "backbone": "somebody/elses", "use_timm_backbone": False},
        {"num_labels": 10**9},
        None,
        "a tower",
    ],
)
def test_what_stands_in_for_pictures_is_never_looked_at(folder, tower, tmp_path, capfd):
    """transformers would ask whether to run its code, fetch it, or take memory for it."""
    whole = load_model(folder)
    changed(folder, vision_config=tower, auto_map={"AutoConfig": "evil.Evil"}, sub_configs="\x1b]0;title\x07")
    changed(folder, text_config__num_labels=10**9, text_config__attn_implementation="kernels-community/evil")
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'canary')!r}, 'w')")
    loaded = load_model(folder)
    assert loaded.info == whole.info
    assert not (tmp_path / "canary").exists()
    assert capfd.readouterr() == ("", "")


def test_missing_weights_are_refused_and_never_drawn(folder):
    tensors = load_file(folder / "model.safetensors")
    for name in ("model.decoder.layers.0.mlp.up_proj.weight", "model.decoder.self_conditioning.up_proj.weight"):
        save_file({k: v for k, v in tensors.items() if k != name}, folder / "model.safetensors", {"format": "pt"})
        with pytest.raises(CheckpointError, match="is missing"):
            load_model(folder)


def test_weights_that_are_no_numbers_are_refused(folder):
    tensors = load_file(folder / "model.safetensors")
    tensors["model.decoder.norm.weight"][0] = torch.nan
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(UnauditableModel, match="NaN"):
        load_model(folder)


def test_the_loop_of_the_folder_is_taken(folder):
    file = folder / "generation_config.json"
    given = {"max_denoising_steps": 9, "sampler_config": {"entropy_bound": 0.3}, "t_min": 0.2, "t_max": 0.9}
    file.write_text(json.dumps(given | {"stability_threshold": 2, "confidence_threshold": 0.01}))
    assert load_model(folder).sampling.entropy_bound == EntropyBound(9, 0.3, 0.2, 0.9, 2, 0.01)
    for wrong in ({"max_denoising_steps": 0}, {"t_min": 2.0}, {"stability_threshold": "x"}, {"t_max": True}):
        file.write_text(json.dumps(given | wrong))
        with pytest.raises(CheckpointError, match="generation_config"):
            load_model(folder)


@pytest.mark.parametrize("last_layer", ["cpu", "disk"])
def test_it_may_be_spread_over_what_there_is(transformers, folder, monkeypatch, last_layer):
    """By accelerate, here onto a disk: the answers are those of a network in one place."""
    pytest.importorskip("accelerate")
    here = [f"encoder.{name}" for name in ("vision_tower", "embed_vision")]
    for tower in ("decoder", "encoder.language_model"):
        here += [f"{tower}.{name}" for name in ("embed_tokens", "norm", "rotary_emb", "layers.0")]
    placement = {f"model.{name}": "cpu" for name in [*here, "decoder.self_conditioning"]} | {"lm_head": "cpu"}
    # Encoder and decoder share the layer.
    placement |= {f"model.{tower}.layers.1": last_layer for tower in ("decoder", "encoder.language_model")}
    monkeypatch.setattr("audit_cli.checkpoints.diffusion_gemma.PLACEMENT", placement)
    # Files that transformers would follow in a folder that it is given.
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "/nothing"}))
    whole, spread = load_model(folder), load_model(folder, device="auto")
    assert spread.info == whole.info
    # Where the files were read from is no part of it: a stopped run could not go on.
    assert spread.network_sha256 == whole.network_sha256
    canvas = torch.randint(0, V, (5, CANVAS), generator=torch.Generator().manual_seed(0))
    t = torch.full((5,), 0.5, dtype=torch.float64)
    hidden = [prompted(model.denoiser, PROMPT).hidden(canvas, t) for model in (whole, spread)]
    torch.testing.assert_close(*hidden, rtol=1e-5, atol=1e-5)
    kept = spread.denoiser.network.uddm_audit_files.name
    assert all(entry.is_symlink() for entry in Path(kept).glob("*.safetensors"))


def test_a_tensor_with_two_names_has_one_value(folder):
    tensors = load_file(folder / "model.safetensors")
    twin = "model.encoder.language_model.norm.weight"
    tensors[twin] = tensors["model.decoder.norm.weight"].clone()
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    load_model(folder)
    tensors[twin] += 1
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(CheckpointError, match="differ"):
        load_model(folder)


def test_along_the_trajectory_its_law_is_converted_and_that_is_told(folder):
    model = load_model(folder)
    found = trajectory(model, [Candidate("t", 1, "t:1", token_ids=(3, 1, 4, 1))], TrajectorySettings(time=0.8, steps=4))
    assert (
        found.rows == 1
        and found.tokens == 4
        and [round(step.t, 2) for step in found.steps] == [0.8, 0.75, 0.5, 0.25, 0]
    )
    assert all(0 <= step.entropy.value <= np.log(V) for step in found.steps)
    assert "entropy-bound" in found.notes[0] and "conversion" in found.notes[1]
    with pytest.raises(ValueError, match="the paper's protocol"):
        trajectory(model, None, TrajectorySettings(2, protocol="paper"))
