"""MedCLIP: a shared space of chest X-rays and report sentences, learned without pairs."""

from __future__ import annotations

__version__ = "0.1.0"
