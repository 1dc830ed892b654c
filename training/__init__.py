"""Fits, measures and registers LoRA adapters."""
