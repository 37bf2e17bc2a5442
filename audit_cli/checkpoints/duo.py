"""DUO as the hub has it (s-sahoo/duo, s-sahoo/duo-distilled): the diffusion transformer with GPT-2's tokens.

V = 50258: training appended [PAD] to GPT-2's 50257 tokens. Rows were packed text between two <|endoftext|>.
"""

from pathlib import PurePosixPath

from audit_cli.checkpoints.dit_folder import Described, as_loaded, load_dit
from audit_cli.checkpoints.errors import CheckpointError
from audit_cli.checkpoints.family import Family, Request
from audit_cli.checkpoints.loaded import LoadedModel, packed_layout
from audit_cli.checkpoints.tokenizer import PAD
from audit_cli.checkpoints.tokenizer_files import GPT2_SPECIAL, model_tokenizer

DISTILLED = "duo (distilled)"
# What names of students contain; their configurations are those of their teachers.
STUDENTS = ("distil", "idlm")


def check_duo(request: Request) -> None:
    """Raise CheckpointError at what is no diffusion model."""
    if request.config.get("causal", False) is not False:
        raise CheckpointError(f"{request.config_file}: causal is set, which no diffusion model of this family has")


def load_duo(request: Request) -> LoadedModel:
    """Load a DUO folder. Raises CheckpointError."""
    weights = request.one_set_of_weights("published")
    network, sha256 = load_dit(request)
    config = network.config
    tokenizer, source = model_tokenizer(request.folder, request.tokenizer, config.vocab_size, added=PAD)
    family = DISTILLED if is_distilled(request) else "duo"
    layout = packed_layout(config.max_length, None if tokenizer is None else tokenizer.id_of(GPT2_SPECIAL))
    rows = f"packed, text between two {GPT2_SPECIAL}" if layout.packed else "packed"
    return as_loaded(request, network, sha256, Described(family, weights, rows, layout, tokenizer, source))


def is_distilled(request: Request) -> bool:
    """Whether the folder or its configuration is named as a student's: nothing else tells one."""
    names = (PurePosixPath(str(name)).name.lower() for name in (request.name, request.config.get("_name_or_path")))
    return any(word in name for name in names for word in STUDENTS)


FAMILY = Family("duo", check_duo, load_duo, ("duo",), ("DUO",))
