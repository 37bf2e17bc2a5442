"""Denoisers whose law is known exactly, on tiny vocabularies and lengths."""

import torch
from uddm_kernels import LinearHead

from audit_cli.diffusion.denoiser import Law
from audit_cli.diffusion.schedules import LogLinear


class ExactDenoiser:
    """Bayes' rule over a list of equally likely texts: the leave-one-out law, or the posterior law."""

    stateless = True
    device = torch.device("cpu")

    def __init__(self, texts, vocab_size, law=Law.LEAVE_ONE_OUT, schedule=None):
        self.texts = torch.tensor(texts)
        self.vocab_size = vocab_size
        self.noise_tokens = torch.arange(vocab_size)
        self.max_length = self.texts.shape[1]
        self.schedule = schedule or LogLinear()
        self.law = law
        self.head = LinearHead(None)

    def prepare(self, prompt):
        return None

    def hidden(self, tokens, t, context=None):
        alpha = self.schedule.alpha(t)[:, None, None]
        # (rows, texts, length): likelihood of each standing token under each text.
        same = (tokens[:, None, :] == self.texts[None, :, : tokens.shape[1]]).double()
        likelihood = alpha * same + (1 - alpha) / self.vocab_size
        total = likelihood.log().sum(2, keepdim=True)
        weight = total if self.law is Law.POSTERIOR else total - likelihood.log()
        weight = (weight - weight.amax(1, keepdim=True)).exp().expand_as(likelihood)
        one_hot = torch.nn.functional.one_hot(self.texts[:, : tokens.shape[1]], self.vocab_size).double()
        p = torch.einsum("btl,tlv->blv", weight, one_hot)
        return (p / p.sum(2, keepdim=True)).clamp(min=1e-30).log().float()


class TableDenoiser:
    """An arbitrary network: random logits for every state of a tiny world and every time."""

    stateless = True
    device = torch.device("cpu")
    law = Law.LEAVE_ONE_OUT

    def __init__(self, vocab_size, length, seed=0, sharpness=2.0, schedule=None, noise_tokens=None):
        generator = torch.Generator().manual_seed(seed)
        self.vocab_size, self.max_length = vocab_size, length
        self.noise_tokens = torch.arange(vocab_size) if noise_tokens is None else torch.tensor(noise_tokens)
        self.schedule = schedule or LogLinear()
        self.head = LinearHead(None)
        states = vocab_size**length
        self.base = sharpness * torch.randn(states, length, vocab_size, generator=generator)
        self.slope = sharpness * torch.randn(states, length, vocab_size, generator=generator)
        self.calls = 0

    def prepare(self, prompt):
        return None

    def state(self, tokens):
        place = self.vocab_size ** torch.arange(tokens.shape[1])
        return (tokens * place).sum(1)

    def hidden(self, tokens, t, context=None):
        self.calls += len(tokens)
        index = self.state(tokens)
        return self.base[index] + t.float()[:, None, None] * self.slope[index]
