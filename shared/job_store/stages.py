"""The stages of jobs that have not ended: of each lane and status the number that stands for it in
the index of these jobs, so that those of a stage can be counted and the first of them found.
"""

from shared.jobs import JobStatus, Lane

UNFINISHED_STATUSES = (JobStatus.RECEIVING, JobStatus.QUEUED, JobStatus.RUNNING)

STAGES = {
    (lane, status): number
    for number, (lane, status) in enumerate(
        (lane, status) for lane in Lane for status in UNFINISHED_STATUSES
    )
}
