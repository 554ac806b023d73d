"""Jobs: batches too long to wait for, kept on disk, judged in the background, resumed after a crash.

`service` is what the routes talk to, `intake` takes a job in, `scheduler` sees that each is worked on,
`runner` is one at work. What blocks (`job_file`, `store`, `intake`) runs on the one thread that a worker
has for it.
"""
