"""Jobs: batches too long to wait for, kept on disk, judged in the background, resumed after a crash.

`desk` is what the routes talk to, `intake` takes a job in, `foreman` sees that each is worked on, `run`
is one at work. What blocks (`file`, `shelf`, `intake`) runs on the one thread that a worker has for it.
"""
