"""The words of servers, as data: marks around reasoning, stop words, refusals. The next server is a line."""
