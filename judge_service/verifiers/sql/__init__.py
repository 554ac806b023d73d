"""The verifier of SQL: runs a candidate's query in a worker process and compares rows."""
