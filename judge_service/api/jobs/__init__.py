"""Jobs: large batches that are stored on disk, judged in the background, and resumed after a crash.

The routes call `service`. `intake` receives a job, `scheduler` starts a runner for each waiting job, and
`runner` judges one job. Blocking code (`job_file`, `store`, `intake`) runs on one thread per worker.
"""
