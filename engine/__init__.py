"""The engine: everything that moves documents. It imports neither textual nor rich."""

__version__ = "0.1.0"
