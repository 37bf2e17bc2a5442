"""These tests run in a process of their own, see test_fused_interpreted.py: Triton decides on import whether to
interpret its kernels."""

import os

collect_ignore_glob = [] if os.environ.get("TRITON_INTERPRET") == "1" else ["*.py"]
