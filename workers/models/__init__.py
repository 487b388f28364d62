"""The only home of torch and transformers: finds, loads and runs image classifiers."""

import os

# torch's threads would otherwise spin for milliseconds while they wait for one another, and starve
# the loaders that share their cores. OpenMP reads this once, when torch is first imported.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")
# The compiler for GPUs would otherwise start a process for each core.
os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "4")
