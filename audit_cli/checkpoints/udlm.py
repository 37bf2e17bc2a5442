"""UDLM (kuleshov-group/udlm-lm1b and -qm9): the diffusion transformer, rows `[CLS] text [SEP] [PAD]…`.

The published files hold the moving average. The softmax of the logits is the leave-one-out law of a uniform noise
over all tokens, [PAD] and the other special ones among them, at sigma = -log(1 - (1 - 1e-3) t).
"""

from audit_cli.checkpoints.dit_folder import Described, as_loaded, load_dit
from audit_cli.checkpoints.errors import CheckpointError
from audit_cli.checkpoints.family import Family, Request
from audit_cli.checkpoints.loaded import Layout, LoadedModel, Sampling
from audit_cli.checkpoints.tokenizer import TextTokenizer
from audit_cli.checkpoints.tokenizer_files import model_tokenizer

FRAME = ("[CLS]", "[SEP]", "[PAD]")


def load_udlm(request: Request) -> LoadedModel:
    """Load a UDLM folder. Raises CheckpointError."""
    weights = request.one_set_of_weights("ema")
    network, sha256 = load_dit(request)
    tokenizer, source = model_tokenizer(request.folder, request.tokenizer, network.config.vocab_size)
    layout, rows = sentence_layout(tokenizer, network.config.max_length)
    # Its grid ends at the smallest noise.
    sampling = Sampling(noise_removal=False)
    return as_loaded(request, network, sha256, Described("udlm", weights, rows, layout, tokenizer, source, sampling))


def check_udlm(request: Request) -> None:
    """Raise CheckpointError at a kind of UDLM that was not verified."""
    if request.config.get("cfg", False) is not False:
        raise CheckpointError(f"{request.config_file}: cfg is set: networks conditioned on a class are not supported")
    if request.config.get("time_conditioning", True) is not True:
        raise CheckpointError(f"{request.config_file}: time_conditioning is off, which no published UDLM has")


def sentence_layout(tokenizer: TextTokenizer | None, length: int) -> tuple[Layout, str]:
    """The layout of training where the tokenizer has its special tokens, else the text alone."""
    first, last, pad = (None if tokenizer is None else tokenizer.id_of(piece) for piece in FRAME)
    if first is None or last is None or pad is None or length < 3:
        return Layout(length), "natural length"
    return Layout(length - 2, pad, (first,), (last,)), "[CLS] text [SEP], padded"


FAMILY = Family("udlm", check_udlm, load_udlm, ("udlm",), ("UDLM",))
