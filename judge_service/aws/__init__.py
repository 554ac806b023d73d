"""AWS without an SDK: credentials, signatures (Signature Version 4) and calls of other services."""
