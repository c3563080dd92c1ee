"""What becomes what: columns, policies and names as data (TYPES.md)."""
