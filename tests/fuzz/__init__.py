"""A coverage-guided search for batches that harm the native converter; see README.md."""
