"""The trail of a request: by what all that is done for it is found, in whatever process."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Trail:
    """Goes with a job from the API to the workers."""

    request_id: str = ""
    """Of the request that made the job; stands in log lines."""
    traceparent: str = ""
    """Its place in a trace (W3C Trace Context); empty where nothing is traced."""

    def dump(self) -> str:
        """As it is stored; neither part has a space."""
        return f"{self.request_id} {self.traceparent}".rstrip()

    @classmethod
    def parse(cls, text: str) -> "Trail":
        request_id, _, traceparent = text.partition(" ")
        return cls(request_id=request_id, traceparent=traceparent)


NO_TRAIL = Trail()
