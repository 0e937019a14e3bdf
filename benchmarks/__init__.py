"""Rheobase, SpikingJelly and a plain PyTorch loop side by side: time and memory of one training step."""
