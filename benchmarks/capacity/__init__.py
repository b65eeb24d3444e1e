"""What jobs and rows cost each part of the service, and what that means for larger ones."""
