"""`audit_cli.generate` and `audit_cli.retrieve`."""

import dataclasses

import pytest

import audit_cli
from audit_cli.audits import GenerationSettings, RetrievalSettings
from audit_cli.audits.generation import generation, unpadded, whole_part
from audit_cli.audits.retrieval import retrieval
from audit_cli.checkpoints.loaded import Layout, LoadedModel, packed_layout
from audit_cli.checkpoints.tokenizer import train_tokenizer
from audit_cli.diffusion.denoiser import Law
from audit_cli.records import Candidate, ModelInfo, Origin, Row, Storage
from tests.exact import ExactDenoiser

SEP, PAD = 3, 0
CUE = "who fed th__ in __e wil_er_e_s"
STORED = "who fed thee in the wilderness"


def exact(texts, law=Law.LEAVE_ONE_OUT, layout=None, tokenizer=None):
    net = ExactDenoiser(texts, 6, law)
    length = len(texts[0])
    info = ModelInfo("n", "f", 1, 6, length, "log-linear", str(law), "r", "raw", "w", "t", "s", "b")
    return LoadedModel(net, tokenizer, layout or Layout(length), info)


def test_records_are_frozen_and_hold_text_and_tokens(memorizing):
    texts = audit_cli.generate(memorizing, 32, nearest=["Who led thee through that great"])
    assert sum(text.count for text in texts) == 32 and texts[0].origin in (Origin.COPY, Origin.NEW)
    assert memorizing.tokenizer.decode(texts[0].token_ids) == texts[0].text
    assert any(text.origin is Origin.COPY and text.nearest.id == "text:1" for text in texts)
    with pytest.raises(dataclasses.FrozenInstanceError):
        texts[0].count = 0
    (back,) = audit_cli.retrieve(memorizing, CUE, corpus=[STORED, "another"], restarts=8)
    assert (back.text, back.count, back.storage, back.fixed_point) == (STORED, 8, Storage.STORED, True)
    assert audit_cli.retrieve(memorizing, CUE, restarts=8)[0].storage is None


def test_near_is_what_is_not_equal_and_unseen_what_is_not_near(memorizing):
    near = audit_cli.retrieve(memorizing, CUE, corpus=[STORED[:-1] + "x"], restarts=4)
    assert near[0].storage is Storage.NEAR and near[0].nearest.similarity == pytest.approx(1 - 1 / 30)
    # What is only a part of a text is not that text.
    part = audit_cli.retrieve(memorizing, CUE, corpus=[STORED + "es"], restarts=4)
    assert part[0].storage is Storage.NEAR and part[0].nearest.copy
    assert audit_cli.retrieve(memorizing, CUE, corpus=["god"], restarts=4)[0].storage is Storage.UNSEEN


def test_settings_that_fit_nothing_are_value_errors(memorizing):
    for wrong in ({"n": 0}, {"length": 99}, {"length": 0}, {"steps": 0}, {"sampler": "none"}, {"seed": -1}):
        with pytest.raises(ValueError):
            audit_cli.generate(memorizing, **wrong)
    for cue, wrong in (("____", {}), (STORED, {}), (CUE, {"level": 1.0}), (CUE, {"freeze": True, "level": 0.5})):
        with pytest.raises(ValueError):
            audit_cli.retrieve(memorizing, cue, **wrong)
    with pytest.raises(TypeError):
        audit_cli.retrieve(memorizing, 7)
    with pytest.raises(audit_cli.CorpusError, match="no text can be compared"):
        audit_cli.generate(memorizing, 2, nearest=["日"])
    with pytest.raises(audit_cli.CorpusError, match="there is none"):
        audit_cli.generate(memorizing, 2, nearest=[])


def test_a_posterior_law_has_no_attractors_and_is_refused():
    model = exact([[1, 2, 4, 5], [2, 2, 1, 1]], Law.POSTERIOR)
    with pytest.raises(audit_cli.UnauditableModel, match="posterior law"):
        audit_cli.retrieve(model, "a_")
    # It can be sampled, and its entropy is told to be converted, or not.
    assert sum(text.count for text in audit_cli.generate(model, 8)) == 8


def test_a_network_without_numbers_is_no_result(redaction):
    model = exact([[1, 2, 4, 5], [2, 2, 1, 1]])
    model.denoiser.hidden = lambda tokens, t, context=None: (
        float("nan") * ExactDenoiser.hidden(model.denoiser, tokens, t)
    )
    with pytest.raises(FloatingPointError):
        generation(model, GenerationSettings(4), None, redaction)


def test_a_model_without_tokenizer_writes_tokens_and_cannot_read_a_cue(redaction):
    model = exact([[1, 2, 4, 5], [2, 2, 1, 1]])
    texts = audit_cli.generate(model, 40, nearest=[Candidate(token_ids=(1, 2, 4, 5))], sampler="ancestral+attractor")
    assert {text.text for text in texts} == {None}
    assert {text.origin for text in texts if text.token_ids == (1, 2, 4, 5)} == {Origin.COPY}
    (result,) = retrieval(model, [Candidate("f", 1, "f:1", "a_")], RetrievalSettings(), None, redaction).cues
    assert "no tokenizer" in result.reason


def test_of_a_packed_row_the_longest_whole_text_is_compared():
    layout = packed_layout(8, SEP)
    assert whole_part(layout, (1, 1, 1, SEP, 2, 2, SEP, 4)) == (2, 2)
    assert whole_part(layout, (1, 1, 1, SEP, SEP, 4)) == (1, 1, 1)
    assert whole_part(layout, (1, 1, SEP, 2, SEP, 4, 4, SEP)) == (4, 4)
    assert whole_part(layout, (1, 2, 4)) == (1, 2, 4)
    assert whole_part(Layout(8), (1, SEP, 2)) == (1, SEP, 2)
    model = exact([[1, SEP, 2, 4, 5, SEP, 2, 1]], layout=layout)
    (text,) = audit_cli.generate(model, 4, nearest=[Candidate(token_ids=(2, 4, 5))])
    assert text.origin is Origin.COPY and text.nearest.similarity == 1


def test_pad_tokens_are_no_text():
    layout = Layout(6, PAD)
    row = Row(Candidate(), (1, PAD, 2, PAD, PAD, PAD), 0, 6)
    assert unpadded(layout, row).own == (1, PAD, 2)
    (text,) = audit_cli.generate(exact([[PAD] * 6], layout=layout), 4, nearest=[Candidate(token_ids=(1, 2))])
    assert (text.token_ids, text.entropy, text.origin, text.count) == ((), None, Origin.NEW, 4)


def test_word_pieces_are_retrieved_too():
    lines = ["ab abb ba", "b a bab ab"]
    tokenizer = train_tokenizer("bpe:262", lines * 5, "cut", "none")
    ids = [tokenizer.encode(line) for line in lines]
    length = min(map(len, ids))
    net = ExactDenoiser([row[:length] for row in ids], tokenizer.size)
    info = ModelInfo("n", "f", 1, 6, length, "log-linear", str(net.law), "r", "raw", "w", "t", "s", "b")
    model = LoadedModel(net, tokenizer, Layout(length), info)
    whole = tokenizer.decode(ids[0][:length])
    cue = "_" + tokenizer.decode(ids[0][1:length])
    (back,) = audit_cli.retrieve(model, cue, restarts=4)
    assert back.text == whole
