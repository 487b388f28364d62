"""Image classifiers: finds, loads and runs them; only here are torch and transformers."""

import os

# By default torch's waiting threads spin for milliseconds and starve the loaders on their cores.
# OpenMP reads this once, at torch's first import.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")
# By default the GPU compiler starts a process for each core.
os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "4")
